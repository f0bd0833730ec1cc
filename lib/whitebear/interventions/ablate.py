"""Concept ablation: with the concept's name the model is to see what it sees with an anchor's.

||eps_theta(x_t, target text) - stopgrad eps_theta(x_t, anchor text)||^2, x_t being noised pictures
of the anchor by the model itself, theta the keys and values of cross-attention (the model-based
variant of Kumari et al. 2023, arXiv 2303.13516). A model that predicts v is trained on that error
in v: at one x_t it differs from that in eps by a factor that would vanish in pure noise. Their term
that keeps the anchor, for names that contain each other (grumpy cat, cat), is left out.

The strength counts iterations; authors' defaults: 100 at batch 8 (2 GPUs), lr 2e-6 times the batch,
1000 pictures of 200 prompts. A seed of the training is one of several: give three.

Fits pipelines whose UNet reads text in cross-attention (Stable Diffusion 1.x and 2.x, SDXL) and is
in the memory of the device. Costs no passes; to prepare, the pictures of the anchor (64 here), and
an iteration two calls and a gradient: a minute on a CPU for the pocket model.

with ablate(artist, rows, 100, concept="bear", anchor="thing"):
    rows = artist.draw_and_judge(rows)
"""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch

from whitebear.errors import UserError
from whitebear.interventions._training import (
    generator_of,
    latents_of,
    once,
    overheard,
    trained,
    why_not_training,
)
from whitebear.interventions._weights import (
    CARRIERS,
    Weights,
    check_count,
    check_number,
    check_unedited,
    concept_of,
    cross_attention_weights,
    edited,
    sentences,
)
from whitebear.interventions.method import Drawing, Method
from whitebear.prompts import noun_of

AT_ONCE = 8  # pictures of the anchor


def _ablate(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    concept: str | None = None,
    seed: int = 0,
    anchor: str = "thing",
    lr: float = 1.6e-5,
    batch: int = 8,
    pictures: int = 64,
    carriers: Sequence[str] = CARRIERS,
) -> Iterator[None]:
    """Draw the rows by the UNet in which `concept` became `anchor` in `strength` iterations.

    concept: None is that of the rows, which must be one; seed: of the training; pictures: of the
    anchor, over the carriers by turns. Trained once a run for all blocks that ask for the same.
    """
    concept = concept_of("ablate", artist, rows, concept)
    check_unedited("ablate", artist)
    if noun_of(anchor) == noun_of(concept):
        raise UserError(f"anchor is {anchor!r}, which is erased; give another word")
    texts = list(zip(sentences(carriers, concept), sentences(carriers, anchor), strict=True))
    check_number("lr", lr), check_count("batch", batch), check_count("pictures", pictures)
    how = texts, concept, int(strength), seed, lr, batch, pictures
    decisive = "ablate", *how, artist.steps, artist.guidance
    weights = cross_attention_weights(artist.pipe.unet)
    read = [text for both in texts for text in both]
    found = once(artist, weights, read, decisive, lambda: _trained(artist, *how))
    with edited("ablate", artist, found):
        yield


def _trained(artist, texts, concept, iterations, seed, lr, batch, pictures) -> Weights:
    unet, first = artist.pipe.unet, generator_of("ablate", concept, seed)
    target, anchor = (
        overheard(artist, column, first).of(prompted=True) for column in zip(*texts, strict=True)
    )
    which = torch.arange(pictures) % len(texts)
    shown = [texts[i][1] for i in which]
    clean = torch.cat([
        latents_of(artist, shown[i : i + AT_ONCE], first) for i in range(0, pictures, AT_ONCE)
    ])  # fmt: skip
    alphas = artist.pipe.scheduler.alphas_cumprod

    def loss(ours: Weights, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(pictures, (batch,), generator=generator)
        timestep = torch.randint(len(alphas), (batch,), generator=generator)
        noise = torch.randn(clean[rows].shape, generator=generator).to(clean)
        share = alphas[timestep.to(alphas.device)].to(clean)[:, None, None, None]
        noised = share.sqrt() * clean[rows] + (1 - share).sqrt() * noise
        call = which[rows], noised, timestep.to(clean.device)
        with torch.no_grad():
            wanted = anchor.rows(*call).under(unet, ours)
        return (target.rows(*call).under(unet, ours) - wanted).square().mean()

    weights = cross_attention_weights(unet)
    return trained(unet, weights, iterations, lr, loss, first, f"ablate {concept}")


ablate = Method(
    "ablate",
    _ablate,
    default=100.0,
    neutral=0.0,
    highest=10_000.0,
    whole=True,
    why_not=why_not_training,
)
