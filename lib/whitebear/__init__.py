"""White Bear: told to forget a concept, why does a diffusion model draw it anyway?

The verbs of the library, each loaded when it is first used.
"""

import importlib

__version__ = "0.1.0"

_HOME = {  # verb -> its module
    "Artist": "draw.artist",
    "Estimate": "stats",
    "capture_attention": "hooks.capture",
    "patch_text": "hooks.patch",
    "prompt_grid": "prompts.grid",
    "steer_attention": "hooks.steer",
    "text_states": "hooks.text",
}
__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'whitebear' has no attribute {name!r}")
    return getattr(importlib.import_module(f"whitebear.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
