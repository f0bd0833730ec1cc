"""Take the concept's direction out of the values that attention gathers.

In every cross-attention each text key's value v becomes v - f(cos(v, v*)) (<v, v*> / ||v*||^2) v*,
with v* = W_V c of the concept's last token c in a prompt that is its name, products over all heads
together, at all text keys but the first (AdaVD: Wang et al. 2024, arXiv 2412.06143). The gate
f(x) = h / (1 + exp(-a (x - b))) spares values that are unlike the concept's. The strength is b, the
cosine at which it is half open: the smaller, the more values are changed; at infinity none is.

The authors take a = 100, b = 0.93 and h = 2, at which a value along v* is turned round instead of
taken out, with Stable Diffusion 1.4. How high cosines are depends on the model, so their b need not
open anything in another: `cosines` is what to calibrate b on, `open_share` what a b opens. h = 1 at
b = -1 is the plain orthogonal complement, without a gate. Only the prompt's half is changed; their
code takes the products over both halves of the batch at once, and changes the unguided one, too.

Fits UNets (Stable Diffusion 1.x and 2.x, SDXL). Costs one product a layer and step, no more calls
of the model; to prepare, one reading of each name.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from diffusers import UNet2DConditionModel

from whitebear.errors import UserError
from whitebear.hooks.edit import PLACES, read_states
from whitebear.hooks.intercept import Attention
from whitebear.hooks.listener import Listener
from whitebear.hooks.run import Run
from whitebear.interventions.method import Drawing, Method
from whitebear.interventions.swap_states import swap_states
from whitebear.interventions.weigh import weigh
from whitebear.models.families import denoiser_of, rewrites_text, text_layers
from whitebear.prompts import named, noun_of


def _why_not(artist: Drawing, **_) -> str:
    denoiser = denoiser_of(artist.pipe)
    if not isinstance(denoiser, UNet2DConditionModel):
        return f"{type(denoiser).__name__} has no values of text alone"
    if rewrites_text(denoiser):
        return "its UNet changes text states before attention reads them"
    return weigh.why_not(artist) or swap_states.why_not(artist)


def gate(cosine: torch.Tensor, b: float, a: float, height: float) -> torch.Tensor:
    """f(x) = height / (1 + exp(-a (x - b))).

    >>> gate(torch.tensor([0.8, 0.93, 1.0]), 0.93, 100.0, 2.0).round(decimals=2).tolist()
    [0.0, 1.0, 2.0]
    """
    return height * torch.sigmoid(a * (cosine - b))


class Decomposing(Listener):
    """A block in which values lose the direction of targets (images, D), one an image."""

    def __init__(self, pipe, prompts: Sequence[str], targets: torch.Tensor, gate):
        super().__init__(pipe, prompts=prompts)
        self.all, self.gate = targets, gate

    def begin(self, run: Run) -> None:
        rows = slice(self.drawn, self.drawn + run.rows)
        _, first = self.find(run, {}, ["bos"])
        self.targets = self.all[rows].to(run.branches[self.branch])
        self.chosen = ~first[..., 0].bool().to(run.device)  # (rows, n_text)
        self.directions: dict[str, torch.Tensor] = {}

    def edit(self, attention: Attention, run: Run) -> None:
        path, rows = self.hub.path, run.slice_of(self.branch)
        if path not in self.directions:
            self.directions[path] = self.layers[path].module.to_v(self.targets)
        value = attention.arguments["value"].clone()
        own = value[rows].transpose(1, 2)  # (rows, keys, heads, features)
        v, star = own.flatten(2).float(), self.directions[path].float()[:, None]
        f = self.gate(torch.cosine_similarity(v, star, dim=-1)) * self.chosen
        along = (v * star).sum(-1) / star.square().sum(-1)
        changed = (v - (f * along)[..., None] * star).to(own)
        value[rows] = changed.view(own.shape).transpose(1, 2)
        attention.arguments["value"] = value


def _adavd(
    artist: Drawing, rows: pd.DataFrame, strength: float, slope: float = 100.0, height: float = 2.0
) -> Iterator[None]:
    """Draw with values off each row's concept where cosines are above `strength`, in all rows
    whether they name it or not. slope, height: a and h of the gate."""

    def opened(cosine: torch.Tensor) -> torch.Tensor:
        return gate(cosine, strength, slope, height)

    targets = last_states(artist, list(rows.concept))
    with Decomposing(artist.pipe, list(rows.prompt), targets, opened):
        yield


adavd = Method(
    "adavd", _adavd, default=0.93, neutral=math.inf, lowest=-1.0, highest=1.0, why_not=_why_not
)


def last_states(artist: Drawing, concepts: Sequence[str]) -> torch.Tensor:
    """The state (concepts, D) of each concept's last token in a prompt that is its noun."""
    nouns = {concept: noun_of(concept) for concept in concepts}
    read = read_states(artist.pipe, list(nouns.values()), list(nouns.values()))
    last = {
        concept: states[places["concept"].nonzero().max()]
        for concept, (states, places) in zip(nouns, read, strict=True)
    }
    return torch.stack([last[concept] for concept in concepts])


@torch.no_grad()
def cosines(artist: Drawing, rows: pd.DataFrame) -> pd.DataFrame:
    """cos(v, v*) of each different prompt and concept of the rows, a row a layer and text key.

    Columns: concept, prompt, layer (path), role ("concept", "eos", "pad" or "other"), cosine.
    Nothing is drawn. To calibrate a gate: b between what the concept's keys have and what the
    others have.
    """
    if reason := _why_not(artist):
        raise UserError(f"adavd cannot be used here: {reason}")
    pairs = list(dict.fromkeys(zip(rows.concept, rows.prompt, named(rows), strict=True)))
    targets = last_states(artist, [concept for concept, _, _ in pairs])
    read = read_states(artist.pipe, *map(list, list(zip(*pairs, strict=True))[1:]))
    tables = []
    for layer in text_layers(denoiser_of(artist.pipe)):
        for (concept, prompt, _), target, (states, places) in zip(
            pairs, targets, read, strict=True
        ):
            v, star = layer.module.to_v(states).float(), layer.module.to_v(target).float()
            role = ["other"] * len(states)
            for name in reversed(PLACES):  # a key of the word is that, whatever else it is
                role = [name if hit else old for hit, old in zip(places[name], role, strict=True)]
            similar = torch.cosine_similarity(v, star[None], dim=-1).tolist()
            tables.append(
                pd.DataFrame({"concept": concept, "prompt": prompt, "layer": layer.path,
                              "role": role, "cosine": similar})
            )  # fmt: skip
    found = pd.concat(tables, ignore_index=True)
    return found[found.role != "bos"].reset_index(drop=True)


def open_share(found: pd.DataFrame, b: float) -> pd.Series:
    """The share of `cosines` at which a gate b is at least half open, a role each."""
    return (found.cosine >= b).groupby(found.role).mean()
