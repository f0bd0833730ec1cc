"""What does watching attention cost? `python tests/bench/bench_attention.py` (or `make bench`).

Contenders take turns in one process, in a new order each round; each time is divided by that of
the bare pipeline in the same round, and the bare pipeline runs twice (A/A) to show what a ratio is
worth. Peers are installed into a throw-away folder. Random weights: only shapes matter here.

Prints a table and writes data/results/bench_attention.parquet, which a chapter of the book reads.
Run it on a machine that has nothing else to do.
"""

import argparse
import contextlib
import gc
import importlib.metadata
import platform
import random
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pandas as pd
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tqdm import tqdm
from transformers import CLIPTextModel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import WIDTH, text_config, tiny_tokenizer  # noqa: E402
from families import flux_pipeline, tiny_vae  # noqa: E402
from whitebear.book.chapters.what_watching_costs import overheads  # noqa: E402
from whitebear.files import write_parquet  # noqa: E402
from whitebear.hooks import capture_attention  # noqa: E402

PEERS = ("attention-map-diffusers==1.0.0", "daam==0.2.0")
PROMPT = "a picture of a bear and a white car"
TOKENS = ["picture", "bear", "white", "car"]
WIDTHS = {"cpu": (128, 256, 512, 512), "cuda": (320, 640, 1280, 1280)}  # SD 1.x has the latter


def sd_pipeline(device: str) -> StableDiffusionPipeline:
    """The topology of SD 1.x at 64x64 latents: 16 cross-attention layers, 8 heads, 77 tokens."""
    tokenizer = tiny_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=WIDTHS[device], layers_per_block=2,
        cross_attention_dim=WIDTH, attention_head_dim=8,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=tiny_vae(), text_encoder=CLIPTextModel(text_config(tokenizer)), tokenizer=tokenizer,
        unet=unet, scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def flux_attention(device: str) -> DiffusionPipeline:
    """FLUX.1's attention at 1024x1024: 4,096 image and 512 text tokens, head width 128.

    One double and one single block, and on a CPU 2 of the 24 heads.
    """
    return flux_pipeline(
        num_layers=1, num_single_layers=1, attention_head_dim=128,
        num_attention_heads=2 if device == "cpu" else 24, axes_dims_rope=(16, 56, 56),
    )  # fmt: skip


SHAPES = {"SD 1.x": (sd_pipeline, 512), "FLUX.1 attention": (flux_attention, 1024)}


def install_peers(folder: str) -> None:
    """The peers without what they depend on: torch, diffusers and transformers are ours."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    for peer in PEERS:
        if subprocess.run([*command, peer]).returncode:
            print(f"{peer} cannot be installed; left out", file=sys.stderr)
    sys.path.append(folder)
    spacy, tokens = types.ModuleType("spacy"), types.ModuleType("spacy.tokens")
    spacy.tokens, tokens.Token = tokens, object  # DAAM imports them for parsing only
    sys.modules.update({"spacy": spacy, "spacy.tokens": tokens})


def ours(reduce, roles):
    """Our capture of four words; what is kept is what stays until dataset() is called."""

    @contextlib.contextmanager
    def watch(pipe):
        with capture_attention(pipe, TOKENS, reduce, roles=roles) as cap:
            yield lambda: sum(
                t.nbytes for run in cap.kept for by in run.values() for v in by.values() for t in v
            )
        cap.dataset()

    return watch


def map_diffusers(mode: str, compute: bool):
    """attention-map-diffusers: Q and K kept ("fast"), or maps made on the way ("exact")."""

    @contextlib.contextmanager
    def watch(pipe):
        from attention_map_diffusers import AttentionCapture

        with AttentionCapture(pipe, timesteps="all", mode=mode, allow_large_maps=True) as cap:
            yield lambda: tensor_bytes(cap)
        if compute:
            cap.compute()

    return watch


@contextlib.contextmanager
def daam(pipe):
    """DAAM: heat maps summed over time, as its users run it."""
    from daam import trace

    with trace(pipe) as tracer:
        yield lambda: tensor_bytes(tracer.all_heat_maps)


def tensor_bytes(thing, seen=None) -> int:
    """Bytes of all tensors that can be reached from an object's attributes and containers."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (str, int, float, torch.nn.Module)):
        return 0
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        return thing.nbytes
    if isinstance(thing, DiffusionPipeline):
        return 0
    if isinstance(thing, dict):
        return sum(tensor_bytes(value, seen) for value in thing.values())
    if isinstance(thing, (list, tuple, set)):
        return sum(tensor_bytes(value, seen) for value in thing)
    parts = getattr(thing, "__dict__", None) or {
        name: getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())
    }
    return sum(tensor_bytes(value, seen) for value in parts.values())


@contextlib.contextmanager
def bare(pipe):
    yield lambda: 0


CONTENDERS = {
    "bare": bare,
    "bare again (A/A)": bare,
    "ours, mass": ours(("mass",), ()),
    "ours, mass and map": ours(("mass", "map"), ()),
    "ours, mass, map and roles": ours(("mass", "map"), ("bos", "eos", "pad", "other")),
    "attention-map-diffusers, fast": map_diffusers("fast", False),
    "attention-map-diffusers, fast, computed": map_diffusers("fast", True),
    "attention-map-diffusers, exact": map_diffusers("exact", False),
    "DAAM": daam,
}


def reset_peak(cuda: bool) -> None:
    """Start to measure peak memory anew (on a CPU: of the process, where the kernel is Linux)."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(cuda: bool) -> float:
    """Highest memory since `reset_peak`; NaN where nobody tells."""
    if cuda:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def run_once(pipe, contender, size: int, steps: int) -> dict:
    """Seconds (wall and CPU), bytes kept a step and peak memory of one call of the pipeline."""
    cuda = pipe.device.type == "cuda"
    gc.collect()
    reset_peak(cuda)
    cpu, wall = time.process_time(), time.perf_counter()
    with contender(pipe) as kept:
        pipe(PROMPT, height=size, width=size, num_inference_steps=steps, output_type="latent",
             generator=torch.Generator().manual_seed(0))  # fmt: skip
        if cuda:
            torch.cuda.synchronize()
        counting = time.process_time(), time.perf_counter()
        held = kept()  # not part of what the contender costs
        cpu += time.process_time() - counting[0]
        wall += time.perf_counter() - counting[1]
    peak = peak_bytes(cuda)
    wall = time.perf_counter() - wall
    # A GPU's time is wall time; of a CPU the time it worked, which other work disturbs less.
    seconds = wall if cuda else time.process_time() - cpu
    return {"wall": wall, "cpu": seconds, "kept": held / steps, "peak": peak}


def race(shape: str, rounds: int, steps: int, device: str, dtype: torch.dtype) -> pd.DataFrame:
    """All contenders on one shape, `rounds` times in changing order."""
    torch.manual_seed(0)
    build, size = SHAPES[shape]
    pipe = build(device).to(device, dtype)
    pipe.set_progress_bar_config(disable=True)
    alive, rows = dict(CONTENDERS), []
    for name, contender in CONTENDERS.items():  # once to warm up, and to see who runs at all
        try:
            run_once(pipe, contender, size, 1)
        except Exception as error:
            print(f"{shape}: {name} does not run here: {type(error).__name__}: {error}"[:160])
            del alive[name]
    bar = tqdm(total=rounds * len(alive), desc=shape, unit="run")
    for number in range(rounds):
        names = random.Random(number).sample(list(alive), len(alive))
        for name in names:
            found = run_once(pipe, alive[name], size, steps)
            rows.append({"shape": shape, "round": number, "contender": name, **found})
            bar.update()
    bar.close()
    order = {name: i for i, name in enumerate(CONTENDERS)}
    return pd.DataFrame(rows).sort_values("contender", key=lambda c: c.map(order), kind="stable")


def versions() -> str:
    """What was raced, for the record."""
    names = ("torch", "diffusers", "transformers", *(p.partition("==")[0] for p in PEERS))
    found = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "data/results/bench_attention.parquet")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    machine = f"{torch.get_num_threads()} threads of a CPU ({platform.machine()})"
    with tempfile.TemporaryDirectory() as folder:
        install_peers(folder)
        found = [race(shape, args.rounds, args.steps, device, dtype) for shape in args.shapes]
        rows = pd.concat(found).assign(
            machine=torch.cuda.get_device_name() if device == "cuda" else machine,
            versions=versions(), steps=args.steps, day=time.strftime("%Y-%m-%d"),
        )  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(rows, args.out)
    print(overheads(rows, "bare").round(3).to_string())


if __name__ == "__main__":
    main()
