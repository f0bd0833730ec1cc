"""Ways to keep a concept out of an image that are more than words: a file a method.

with weigh(artist, rows, 0.0):
    rows = artist.draw_and_judge(rows)
"""

import importlib
import pkgutil

from whitebear.errors import UserError, nearest
from whitebear.interventions._weights import cross_attention_weights, untouched
from whitebear.interventions.ablate import ablate
from whitebear.interventions.adavd import adavd
from whitebear.interventions.clip_skip import clip_skip
from whitebear.interventions.dng import dng, fit_dng
from whitebear.interventions.esd import esd
from whitebear.interventions.exchange_part import exchange_part, with_part
from whitebear.interventions.instruct import instruct
from whitebear.interventions.leace import leace
from whitebear.interventions.method import Drawing, Method
from whitebear.interventions.negative_prompt import negative_prompt
from whitebear.interventions.none import none
from whitebear.interventions.output_filter import output_filter
from whitebear.interventions.rece import adversarial_states, rece
from whitebear.interventions.safree import safree
from whitebear.interventions.sld import sld
from whitebear.interventions.suppress_states import suppress_states
from whitebear.interventions.swap_states import swap_states
from whitebear.interventions.uce import uce
from whitebear.interventions.unguided import unguided
from whitebear.interventions.weigh import weigh
from whitebear.interventions.words import words

__all__ = [
    "Drawing", "Method", "ablate", "adavd", "adversarial_states", "clip_skip",
    "cross_attention_weights", "dng", "esd", "exchange_part", "find_method", "fit_dng", "instruct",
    "leace", "method_names", "negative_prompt", "none", "output_filter", "rece", "safree", "sld",
    "suppress_states", "swap_states", "uce", "unguided", "untouched", "weigh", "with_part",
    "words",
]  # fmt: skip


def method_names() -> list[str]:
    """The names of all methods: those of the files of this folder, but for what they share
    (`method`, and files with a leading underscore)."""
    names = [file.name for file in pkgutil.iter_modules(__path__)]
    return [name for name in names if name != "method" and name[0] != "_"]


def find_method(name: str) -> Method:
    """The method of a name. Raises `UserError` with the nearest one for any other.

    >>> find_method("weigh").neutral
    1.0
    """
    if name not in method_names():
        raise UserError(f"unknown intervention {name!r}; {nearest(name, method_names())}")
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)
