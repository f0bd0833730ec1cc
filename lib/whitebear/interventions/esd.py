"""Erased Stable Diffusion, ESD-x: cross-attention is trained to be guided away from the concept.

eps_theta(x_t, c) -> eps_0(x_t, c) - eta (eps_0(x_t, c) - eps_0(x_t, empty)), where eps_0 is the
model as it was. With eta 2, as in the authors' code, that is eps_0(empty) - (eps_0(c) -
eps_0(empty)), the paper's formula with 1 (Gandikota et al. 2023, arXiv 2303.07345). x_t is what
theta draws of the concept at guidance 3, up to a random step. The coefficients add up to 1, so for
a model that predicts v or the image the same combination of these is the target, and the error is
taken in what it predicts: in eps it would vanish where a schedule begins with noise alone.

The strength counts iterations; authors' defaults: 200, batch 1, Adam, lr 5e-5, all weights of
cross-attention, prompt: the bare name. "ESD" in papers is at least three settings (older ones: 1000
at 1e-5). A seed of the training is one of several: give three.

Fits pipelines whose UNet reads text in cross-attention (Stable Diffusion 1.x and 2.x, SDXL) and is
in the memory of the device. Costs no passes; to prepare, an iteration takes half the steps of a
picture, four calls and a gradient: 200 take minutes on a CPU for the pocket model.

with esd(artist, rows, 200, concept="bear", seed=1):
    rows = artist.draw_and_judge(rows)
"""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch

from whitebear.interventions._training import (
    generator_of,
    once,
    overheard,
    trained,
    why_not_training,
)
from whitebear.interventions._weights import (
    Weights,
    check_count,
    check_number,
    check_unedited,
    concept_of,
    cross_attention_weights,
    edited,
    kept,
    sentences,
)
from whitebear.interventions.method import Drawing, Method


def _esd(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    concept: str | None = None,
    seed: int = 0,
    lr: float = 5e-5,
    batch: int = 1,
    eta: float = 2.0,
    carriers: Sequence[str] = ("{c}",),
) -> Iterator[None]:
    """Draw the rows by the UNet that unlearned `concept` in `strength` iterations.

    concept: None is that of the rows, which must be one; seed: of the training; carriers: sentences
    with {c} that stand for the concept, by turns. Trained once a run for all blocks that ask for
    the same.
    """
    concept = concept_of("esd", artist, rows, concept)
    check_unedited("esd", artist)
    texts = sentences(carriers, concept)
    check_number("lr", lr), check_count("batch", batch), check_number("eta", eta)
    weights = cross_attention_weights(artist.pipe.unet, ())
    how = texts, concept, int(strength), seed, lr, batch, eta, artist.steps
    found = once(artist, weights, texts, ("esd", *how), lambda: _trained(artist, *how))
    with edited("esd", artist, found):
        yield


def _trained(artist, texts, concept, iterations, seed, lr, batch, eta, steps) -> Weights:
    unet = artist.pipe.unet
    weights = cross_attention_weights(unet, ())
    before = kept(weights, weights)

    def loss(ours: Weights, generator: torch.Generator) -> torch.Tensor:
        at = int(torch.randint(steps, (), generator=generator))
        prompts = [texts[i] for i in torch.randint(len(texts), (batch,), generator=generator)]
        call = overheard(artist, prompts, generator, steps, at)
        with torch.no_grad():
            empty, named = call.under(unet, before).chunk(2)
        wanted = named - eta * (named - empty)
        return (call.of(prompted=True).under(unet, ours) - wanted).square().mean()

    generator = generator_of("esd", concept, seed)
    return trained(unet, weights, iterations, lr, loss, generator, f"esd {concept}")


esd = Method(
    "esd", _esd, default=200.0, neutral=0.0, highest=10_000.0, whole=True, why_not=why_not_training
)
