"""Text states from which no linear reader can tell whether the concept was named.

r(x) = x - W^+ P W (x - E x), W = Sigma_xx^(-1/2), P the orthogonal projection on the columns of
W Sigma_xz: of all affine maps after which a linear classifier cannot predict z from r(x), the one
that changes x least (LEACE: Belrose et al. 2023, arXiv 2306.03819, theorem 4.3). x is a text state,
at any position but the first of CLIP, which is the same for all texts; z whether its prompt names
the concept. Each concept has its own eraser, fitted on prompts with and without it, and all rows of
a concept are drawn with (1 - s) x + s r(x), whether they name it or not.

The strength s mixes, since it goes from no change to the guarantee without a jump; the other
number, `svd_tol`, decides whether a direction is erased or not, and at the 0.01 that the package
would take, a concept that few of the prompts name may keep its only one. It is 0.001 here, and a
fit that erases nothing is refused. What is drawn from states in which the concept is linearly
erased may still show it: the denoiser reads them in other ways.

Fits every family that `edit_text` knows; each stretch of text keys (SD3 has two) has its own
eraser. Needs the package concept-erasure (the extra `arena`). Costs no more calls of the model; to
prepare, one reading of the prompts, and D^3 operations a concept for states of D features.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd
import torch

from whitebear.errors import UserError
from whitebear.hooks.edit import Places, edit_text, read_states
from whitebear.hooks.words import occurrences
from whitebear.interventions._weights import CARRIERS
from whitebear.interventions.method import Drawing, Method
from whitebear.interventions.swap_states import swap_states
from whitebear.models.families import stretches
from whitebear.prompts import fill, load_concepts, noun_of, web_concepts

SENTENCES = (
    *CARRIERS, "a {c}", "a photo of a {c}", "an image of a {c}", "a painting of a {c}",
    "there is a {c}", "a child drew a {c}",
)  # fmt: skip
LEAST = 4  # prompts with the concept, and without


def _why_not(artist: Drawing, **_) -> str:
    if importlib.util.find_spec("concept_erasure") is None:
        return 'the package concept-erasure is not installed; pip install "concept-erasure==0.2.4"'
    return swap_states.why_not(artist)


def _leace(
    artist: Drawing,
    rows: pd.DataFrame,
    strength: float,
    prompts: Sequence[str] | None = None,
    svd_tol: float = 1e-3,
) -> Iterator[None]:
    """Draw with a share `strength` of the states erased of each row's concept.

    prompts: to fit on; None is every concept that the book has for this model in SENTENCES.
    """
    names = list(dict.fromkeys(rows.concept))
    prompts = carried(artist, names) if prompts is None else list(prompts)
    erasers = fit_erasers(artist, names, prompts, svd_tol)
    concepts = list(rows.concept)

    def edit(row: int, states: torch.Tensor, places: Places) -> torch.Tensor:
        states = states.clone()
        for keys, eraser in zip(_readable(artist, places), erasers[concepts[row]], strict=True):
            x = states[keys].float()
            states[keys] = torch.lerp(x, eraser(x), strength).to(states)
        return states

    with edit_text(artist.pipe, list(rows.prompt), edit):
        yield


leace = Method("leace", _leace, default=1.0, neutral=0.0, highest=1.0, why_not=_why_not)


def carried(artist: Drawing, concepts: Sequence[str]) -> list[str]:
    """SENTENCES with each of these concepts, and with the objects that the book has for a model."""
    objects = web_concepts().query("kind == 'object'").name
    others = list(load_concepts().objects) if artist.pocket else list(objects)
    nouns = dict.fromkeys(noun_of(name) for name in [*concepts, *others])
    return [fill(text, c=noun)[0] for noun in nouns for text in SENTENCES]


def fit_erasers(
    artist: Drawing, concepts: Sequence[str], prompts: Sequence[str], svd_tol: float = 1e-3
) -> dict[str, list]:
    """Of each concept an eraser a stretch of text keys, `concept_erasure.LeaceEraser`.

    UserError where fewer than LEAST prompts name it, or do not, where there are fewer states than
    features, and where nothing would be erased.
    """
    from concept_erasure import LeaceFitter

    nouns = {concept: noun_of(concept) for concept in concepts}
    named = {c: [bool(occurrences(text, noun)) for text in prompts] for c, noun in nouns.items()}
    for concept, has in named.items():
        if min(sum(has), len(has) - sum(has)) < LEAST:
            raise UserError(
                f"of the {len(has)} prompts to fit on, {sum(has)} name {nouns[concept]!r}; leace"
                f" needs at least {LEAST} that do and {LEAST} that do not"
            )
    read = read_states(artist.pipe, prompts)
    erasers: dict[str, list] = {concept: [] for concept in concepts}
    for keys in zip(*(_readable(artist, places) for _, places in read), strict=True):
        x = [states[k].double().cpu() for (states, _), k in zip(read, keys, strict=True)]
        lengths, every = torch.tensor([len(part) for part in x]), torch.cat(x)
        z = torch.tensor(list(named.values())).T.repeat_interleave(lengths, 0)  # (states, concepts)
        if len(every) <= every.shape[1]:
            raise UserError(
                f"{len(prompts)} prompts have {len(every)} states to fit {every.shape[1]} features"
                " on; leace needs more states than features: give more prompts"
            )
        options = {"svd_tol": svd_tol, "dtype": every.dtype}
        together = LeaceFitter(every.shape[1], len(concepts), **options).update(every, z)
        for i, concept in enumerate(concepts):
            fitter = LeaceFitter(every.shape[1], 1, **options)
            fitter.n, fitter.mean_x = together.n, together.mean_x
            fitter.sigma_xx_, fitter.sigma_xz_ = together.sigma_xx_, together.sigma_xz_[:, [i]]
            eraser = fitter.eraser
            if not eraser.proj_left.any():
                raise UserError(
                    f"leace found nothing to erase of {nouns[concept]!r}: what tells its prompts"
                    f" apart lies below svd_tol {svd_tol:g}; give a lower one, or more prompts"
                )
            device = read[0][0].device
            parts = {name: getattr(eraser, name) for name in ("proj_left", "proj_right", "bias")}
            parts = {name: part.float().to(device) for name, part in parts.items()}
            erasers[concept].append(replace(eraser, **parts))
    return erasers


def _readable(artist: Drawing, places: Places) -> list[torch.Tensor]:
    """bool (n_text,): the text keys of each stretch but the first of CLIP."""
    found = []
    for stretch in stretches(artist.pipe, len(places["bos"])):
        keys = torch.zeros_like(places["bos"])
        keys[stretch] = ~places["bos"][stretch]
        found.append(keys)
    return found
