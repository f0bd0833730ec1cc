"""Attention to chosen words over steps and layers, reduced on the device while the image is made.

with capture_attention(pipe, tokens=["bear"]) as cap:
    images = pipe("a picture of a bear").images
ds = cap.dataset()    # mass (sample, step, layer, token), map (..., y, x)

mass(token) = mean over image queries of P[query, token], P the softmax that makes the image; never
renormalised. In cross-attention P sums to 1 over the text keys, in joint attention over text and
image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch.nn.functional import adaptive_avg_pool2d

from whitebear.errors import UserError
from whitebear.hooks.intercept import Attention
from whitebear.hooks.kernels import add_mask, row_blocks, scores
from whitebear.hooks.listener import Listener
from whitebear.hooks.run import Run, as_double
from whitebear.hooks.words import ROLES, TEXT, check_names, check_tokens
from whitebear.models.families import layer_grid, place_of

if TYPE_CHECKING:
    import xarray as xr

REDUCTIONS = ("mass", "map", "entropy")


class AttentionCapture(Listener):
    """What `capture_attention` gives; `dataset()` after the block, `estimate()` before."""

    def __init__(self, pipe, tokens, reduce, grid, heads, roles, **where):
        super().__init__(pipe, **where)
        self.words = check_tokens(tokens, self.prompts)
        self.roles = check_names(roles, (*ROLES, TEXT), "roles")
        self.reduce = check_names(reduce, REDUCTIONS, "reduce")
        if heads not in ("mean", "all"):
            raise UserError(f'heads is {heads!r}; use "mean" or "all"')
        if type(grid) is not int or grid < 1:
            raise UserError(f"grid is {grid!r}; give a whole number of cells a side, at least 1")
        self.labels = [*self.words, *(f"<{role}>" for role in self.roles)]
        if not self.labels and set(self.reduce) != {"entropy"}:
            raise UserError("there is nothing to look at; name tokens or roles")
        self.grid, self.heads = grid, heads
        self.needs_lse = bool({"mass", "map"} & set(self.reduce))
        self.kept: list[dict[str, dict[str, list[torch.Tensor]]]] = []  # run -> variable -> layer
        self.about: list[dict] = []

    def begin(self, run: Run) -> None:
        texts, chosen = self.find(run, self.words, self.roles)
        self.keys = chosen.any(0).any(-1).nonzero().flatten()  # text keys that anyone asked for
        device = run.device
        self.chosen = chosen[:, self.keys].to(device)  # (rows, keys, labels)
        self.keys = self.keys.to(device)
        self.kept.append({name: {path: [] for path in self.layers} for name in self.reduce})
        self.about.append(
            {"prompts": texts, "times": run.schedule, "sigmas": run.sigmas, "steps": {},
             "queries": {}, "heads": {}}
        )  # fmt: skip

    def observe(self, path: str, attention: Attention, run: Run) -> None:
        """Reduce one layer of one denoiser call to what is kept of it."""
        args, rows = attention.arguments, run.slice_of(self.branch)
        query = args["query"][rows][..., attention.image, :]
        self.about[-1]["steps"][run.step] = True  # in their order
        self.about[-1]["queries"][path] = query.shape[-2]
        self.about[-1]["heads"][path] = query.shape[1]
        key, mask = args["key"][rows][..., attention.text, :], args.get("attn_mask")
        if mask is not None:
            mask = mask.expand(args["query"].shape[0], *mask.shape[1:])[rows]
            queries = attention.image if mask.shape[-2] > 1 else slice(None)
            mask = mask[..., queries, attention.text]
        lse = None if attention.lse is None else attention.lse[rows][..., attention.image]
        size = layer_grid(query.shape[-2], run.grid)
        per_row = 4 * query.shape[1] * query.shape[-2] * key.shape[-2]
        found = [
            self.summarise(query[b], key[b], part(mask, b), part(lse, b), attention.scale,
                           self.chosen[b], size)
            for b in row_blocks(run.rows, per_row)
        ]  # fmt: skip
        for name, values in self.kept[-1].items():
            values[path].append(torch.cat([f[name] for f in found]))

    def summarise(self, query, key, mask, lse, scale, chosen, size) -> dict[str, torch.Tensor]:
        """mass (B[, H], T), map (B[, H], T, y, x), entropy (B[, H]) of one block of samples."""
        whole = not self.joint or "entropy" in self.reduce
        if not whole:  # in joint attention lse holds the denominator: few keys are enough
            key = key[..., self.keys, :]
            mask = None if mask is None else mask[..., self.keys]
        logits = scores(query, key, scale)
        logits = logits if mask is None else add_mask(logits, mask)
        p = logits.softmax(-1) if lse is None else (logits - lse[..., None]).exp()
        out = {}
        if "entropy" in self.reduce:
            text = p if lse is None else logits.softmax(-1)
            h = torch.special.entr(text).sum(-1).mean(-1)
            out["entropy"] = h.mean(1) if self.heads == "mean" else h
        if not self.needs_lse:
            return out
        p = p[..., self.keys] if whole else p
        if self.heads == "mean":
            p = p.mean(1, keepdim=True)
        p = p @ chosen[:, None]  # (B, H or 1, N, T)
        if "mass" in self.reduce:
            out["mass"] = p.mean(2).squeeze(1) if self.heads == "mean" else p.mean(2)
        if "map" in self.reduce:
            image = p.transpose(2, 3).unflatten(-1, size)  # (B, H or 1, T, h, w)
            image = image.cpu() if image.is_mps else image  # there it pools into divisors only
            pooled = adaptive_avg_pool2d(image.flatten(0, 1), self.grid).half()
            pooled = pooled.unflatten(0, image.shape[:2])
            out["map"] = pooled.squeeze(1) if self.heads == "mean" else pooled
        return out

    def estimate(self, samples: int, steps: int, heads: int = 1) -> str:
        """The memory that a run will keep on the device, in words, before it is made.

        heads: a layer's heads where heads="all" was asked for.
        """
        a_cell = {"mass": 4, "map": 2 * self.grid**2, "entropy": 4 / max(1, len(self.labels))}
        size = sum(a_cell[name] for name in self.reduce) * len(self.labels)
        steps = steps if self.steps is None else len([s for s in self.steps if s < steps])
        total = size * len(self.layers) * samples * steps * (1 if self.heads == "mean" else heads)
        return (
            f"{total / 2**20:.2f} MiB for {samples} samples, {steps} steps, {len(self.layers)}"
            f" layers and {len(self.labels)} tokens"
        )

    def dataset(self) -> xr.Dataset:
        """Everything captured, with dims sample, step, layer[, head], token[, y, x].

        Coordinates: prompt (sample); timestep and sigma (step); place, queries and heads (layer);
        role (token); y, x, centres of the cells, 0 to 1 from the top left. `step` counts denoiser
        calls: a second-order scheduler makes two a step, each with its own timestep. A layer with
        fewer heads than another (SDXL, Stable Diffusion 2.1) has NaN for those that it lacks.
        Raises UserError where nothing was captured or runs of the block do not fit together.
        """
        import xarray as xr  # brings pandas, which hooks alone do not need

        if not self.expected:
            raise UserError("nothing was captured; call the pipeline inside the block")
        steps = {tuple(about["steps"]) for about in self.about}
        if len(steps) > 1:
            raise UserError("the runs of this block have different steps; use one block for each")
        data = xr.Dataset({name: xr.Variable(*self._variable(name)) for name in self.reduce})
        return data.assign_coords(self._coordinates()).assign_attrs(
            pipeline=type(self.pipe).__name__, scheduler=type(self.pipe.scheduler).__name__,
            branch=self.branch, heads=self.heads, joint=int(self.joint),
            diffusers=diffusers.__version__, torch=torch.__version__,
        )  # fmt: skip

    def _variable(self, name: str) -> tuple[list[str], np.ndarray]:
        layers = [
            [torch.stack(layer, 1).float().cpu() for layer in run[name].values()]
            for run in self.kept
        ]  # run -> layer -> (sample, step, ...)
        dims = ["sample", "step", "layer"]
        dims += ["head"] if self.heads == "all" else []
        dims += {"mass": ["token"], "map": ["token", "y", "x"], "entropy": []}[name]
        every = [layer for run in layers for layer in run]
        if wrong := sum(int(layer.isnan().sum()) for layer in every):
            raise UserError(
                f"{wrong} of {sum(layer.numel() for layer in every)} values of {name} are not"
                f" numbers: the model computes beyond the range of {self.denoiser.dtype}; load it"
                " in bfloat16 or float32"
            )
        if self.heads == "all":
            most = max(layer.shape[2] for layer in every)
            layers = [[with_heads(layer, most) for layer in run] for run in layers]
        return dims, torch.cat([torch.stack(run, 2) for run in layers]).numpy()

    def _coordinates(self) -> dict:
        about, steps = self.about[0], list(self.about[0]["steps"])
        centres = (np.arange(self.grid) + 0.5) / self.grid
        paths = list(self.layers)
        roles = ["word"] * len(self.words) + list(self.roles)
        coords = {
            "prompt": ("sample", [text for a in self.about for text in a["prompts"]]),
            "step": steps,
            "timestep": ("step", as_double(about["times"]).numpy()[steps]),
            "sigma": ("step", about["sigmas"].numpy()[steps]),
            "layer": paths,
            "place": ("layer", [place_of(path, self.joint) for path in paths]),
            "queries": ("layer", [about["queries"][path] for path in paths]),
            "heads": ("layer", [about["heads"][path] for path in paths]),
        }
        if {"mass", "map"} & set(self.reduce):
            coords |= {"token": self.labels, "role": ("token", roles)}
        if "map" in self.reduce:
            coords |= {"y": centres, "x": centres}
        return coords


def with_heads(layer: torch.Tensor, most: int) -> torch.Tensor:
    """(sample, step, head, ...) with `most` heads: NaN for those that a layer lacks."""
    lacking = most - layer.shape[2]
    none = layer.new_full((*layer.shape[:2], lacking, *layer.shape[3:]), torch.nan)
    return torch.cat([layer, none], 2) if lacking else layer


def part(tensor: torch.Tensor | None, rows: slice) -> torch.Tensor | None:
    """Some rows of a tensor that may not be there."""
    return None if tensor is None else tensor[rows]


def capture_attention(
    pipe: DiffusionPipeline,
    tokens: Sequence[str] | Mapping[str, str | Sequence[str]] = (),
    reduce: Sequence[str] = ("mass",),
    grid: int = 16,
    layers: str | list[str] = "*",
    heads: str = "mean",
    branch: str = "cond",
    steps="all",
    roles: Sequence[str] = ROLES,
    prompts: Sequence[str] | None = None,
) -> AttentionCapture:
    """Capture attention to `tokens` in a with-block; see the module's docstring.

    tokens: words or phrases (all occurrences, all their pieces, in every tokenizer), or label ->
    word or one word a prompt. roles: of "bos", "eos", "pad", "other" (what is left), "text" (all).
    reduce: of "mass", "map" (grid x grid means over the image, float16) and "entropy" (nats, of
    the distribution over text keys, in joint attention renormalised to them). layers: globs on
    module paths. heads: "mean" or "all". branch: "cond" or "uncond". steps: "all" or numbers of
    denoiser calls. prompts: one an image, in order; needed where they are encoded elsewhere.

    Raises UserError for anything that cannot be seen (a compiled model, another attention
    backend, a word that is not in the prompt), at the start where possible, at the latest when
    the block ends: an incomplete capture is never handed out.

    >>> from whitebear.models.load import load_pipeline
    >>> pipe = load_pipeline("pocket")
    >>> with capture_attention(pipe, ["bear"], ("mass", "map"), grid=4) as cap:
    ...     images = pipe("a picture of a bear", num_inference_steps=2).images
    >>> data = cap.dataset()
    >>> data.token.values.tolist()
    ['bear', '<bos>', '<eos>', '<pad>', '<other>']
    >>> dict(data.mass.sizes)
    {'sample': 1, 'step': 2, 'layer': 7, 'token': 5}
    >>> dict(data["map"].sizes)
    {'sample': 1, 'step': 2, 'layer': 7, 'token': 5, 'y': 4, 'x': 4}
    >>> bool((abs(data.mass.sum("token") - 1) < 1e-5).all())  # a softmax over the text
    True
    """
    return AttentionCapture(
        pipe, tokens, reduce, grid, heads, roles,
        layers=layers, steps=steps, branch=branch, prompts=prompts,
    )  # fmt: skip
