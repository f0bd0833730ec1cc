"""That no attention to text is missed: what `known_layers` lists is held against the attention
modules that are really given text, however they are named.
"""

import math
import re
from collections.abc import Callable

import torch
from torch import nn

from whitebear.errors import UserError
from whitebear.models.families import known_layers


def refuse_unknown(denoiser: nn.Module, run: Callable) -> list:
    """Handles of hooks that raise UserError, after the next call of the denoiser, where attention
    modules read text that `known_layers` leaves out. run: gives the `Run` of that call."""
    known = {layer.path for layer in known_layers(denoiser)}
    unknown: list[str] = []

    def note(path: str):
        def hook(module, args, kwargs):
            if reads_text(args, kwargs, run().n_text, math.prod(run().grid)):
                unknown.append(path)

        return hook

    def judge(module, args, output):
        for handle in handles:
            handle.remove()
        if unknown:
            shown = ", ".join(unknown[:3]) + ", ..." * (len(unknown) > 3)
            raise UserError(
                f"{type(module).__name__} has attention that reads text and is not known:"
                f" {len(unknown)} layers ({shown}); describe this class in FAMILIES of"
                " whitebear/models/families.py"
            )

    handles = [denoiser.register_forward_hook(judge)] + [
        module.register_forward_pre_hook(note(path), with_kwargs=True)
        for path, module in attention_modules(denoiser).items()
        if path not in known
    ]
    return handles


def attention_modules(denoiser: nn.Module) -> dict[str, nn.Module]:
    """Path -> module of all attention in a denoiser: what has a processor, or is called attention
    and holds no other."""
    found: dict[str, nn.Module] = {}
    for path, module in reversed(list(denoiser.named_modules())):  # children come before parents
        inside = any(other.startswith(f"{path}.") for other in found)
        if hasattr(module, "processor"):
            found = {p: m for p, m in found.items() if not p.startswith(f"{path}.")}
            found[path] = module
        elif path and not inside and re.search("attn|attention", type(module).__name__.lower()):
            found[path] = module
    return dict(reversed(found.items()))


def reads_text(args: tuple, kwargs: dict, n_text: int, n_image: int) -> bool:
    """Whether a module that is called so is given image and text, as two sequences or as one."""
    given = (*args, *(value for name, value in kwargs.items() if "mask" not in name))
    lengths = {x.shape[1] for x in given if isinstance(x, torch.Tensor) and x.ndim > 2}
    return n_text + n_image in lengths or (n_text in lengths and lengths != {n_text})
