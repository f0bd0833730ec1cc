"""What lies ahead before a model of the web is fetched: pictures, device, time; and what cannot be.

Times are arithmetic (operations of a picture over what a device computes in a second) until the
first batch is drawn; from there on the bar of the pictures has them.
"""

import os
import shutil
from pathlib import Path

import huggingface_hub
import torch

from whitebear.errors import UserError
from whitebear.models.hub import in_cache
from whitebear.models.presets import GIB, ModelEntry, room_for

# 10^12 operations a second that pictures get out of a card, about half of what its maker says.
SPEED = {"T4": 12.5, "L4": 40.0, "V100": 40.0, "A10": 50.0, "A100": 120.0, "H100": 250.0,
         "H200": 250.0}  # fmt: skip
CORE = 0.02  # likewise of a core of a CPU, in float32
FIRST = 15 * 60  # seconds within which there is to be a first answer
SPARE = 2.0  # GiB of main memory and of the disk that are left to others


def seconds_of(entry: ModelEntry, steps: int, speed: float) -> float | None:
    """Seconds that a picture takes by arithmetic at a speed in 10^12 operations a second; None for
    a model whose size is not known.

    >>> from whitebear.models.presets import REGISTRY
    >>> round(seconds_of(REGISTRY["sd15"], steps=50, speed=SPEED["T4"]), 1)
    6.6
    """
    size = entry.size
    return None if size is None else (steps * size.tflop + size.decode) / speed


def speed_of(device: torch.device) -> float | None:
    """10^12 operations a second of a device; None for a GPU that is not in the list."""
    if device.type == "cpu":
        return CORE * (os.cpu_count() or 1)
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    return next((SPEED[word] for word in words if word in SPEED), None)


def outlook(entry: ModelEntry, name: str, device: torch.device, steps: int, pictures: int) -> str:
    """In one line: how many pictures, where, how long, and what to do about it."""
    speed = speed_of(device)
    each = None if speed is None else seconds_of(entry, steps, speed)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type}"
    where = where.replace("the cpu", "a CPU").replace("the mps", "Apple's GPU")
    head = f"{name}: {pictures} pictures of {steps} steps on {where}"
    if device.type == "cpu":
        takes = "" if each is None else f", about {duration(pictures * each)}"
        return f"{head}{takes}; choose a GPU, on Colab a T4 (menu Runtime, Change runtime type)"
    if each is None:
        return f"{head}; the first ones will show how long it takes"
    text = f"{head}, about {duration(pictures * each)}, {each:.1f} s each by arithmetic"
    if pictures * each > FIRST:
        text += (
            f". A first answer within {FIRST // 60} minutes: {max(1, int(FIRST / each))} pictures,"
            " by fewer concepts, conditions or seeds, which are kept when you ask for more"
            " (intervals of few concepts say little about others)"
        )
    return text


def duration(seconds: float) -> str:
    """A length of time in words, to two digits or so.

    >>> duration(50), duration(840), duration(9000), duration(400000)
    ('50 s', '14 minutes', '2.5 hours', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    for limit, unit, name in ((5400, 60, "minutes"), (2 * 86400, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.{0 if name == 'minutes' else 1}f} {name}"
    return f"{seconds / 86400:.1f} days"


def check_room(entry: ModelEntry, name: str, device: torch.device) -> None:
    """Raise `UserError` where the disk cannot hold what would be fetched, or main memory the parts
    that wait there for their turn on the GPU."""
    size = entry.size
    if size is None:
        return
    if in_cache(entry.source, entry.revision) is None:
        home = Path(huggingface_hub.constants.HF_HUB_CACHE)
        there = next(folder for folder in (home, *home.parents) if folder.exists())
        free = shutil.disk_usage(there).free / GIB
        if free < size.gib + SPARE:
            raise UserError(
                f"{name} has {size.gib:.1f} GiB to fetch, but {there} has {free:.1f} GiB free; make"
                " room, or set HF_HOME to a folder on a larger disk"
            )
    if device.type == "cuda":
        memory = main_memory()
        waits = size.gib + room_for(size.side) > torch.cuda.mem_get_info(device)[0] / GIB
        if waits and memory is not None and memory < size.gib + SPARE:
            raise UserError(
                f"{name} does not fit this GPU, and the {size.gib:.1f} GiB that would wait in main"
                f" memory do not fit its {memory:.1f} GiB; choose a larger GPU or a smaller model,"
                " such as sd15"
            )


def main_memory() -> float | None:
    """GiB of main memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        return None
