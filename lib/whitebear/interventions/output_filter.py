"""A filter behind the model: a picture that seems to show the concept is given out black.

A picture x is blocked where CLIP finds the concept c in it (as the safety checker of Stable
Diffusion does with concepts of its own: Rando et al. 2022, arXiv 2210.04610):

    100 (cos(x, "a picture of a c") - cos(x, "a picture of something")) > threshold of c

The strength is the share of pictures without the concept that may be blocked. The threshold
follows from it: it is passed by no larger share of pictures of other objects, which the untouched
model draws first, OTHERS objects with a picture for each of SEEDS, once a pipeline. The model
learns nothing: what it would have drawn is drawn, and then hidden. So blocked pictures are counted
apart from those that do not show the concept:

    with output_filter(artist, rows) as screen:
        images = artist.draw(rows)
    screen.blocked    # a bool a row

Ask no detector about a black picture: it never saw one, and that of the pocket world finds a duck.

The filter may not be the judge. A pocket model is judged by its detector and filtered by its own
CLIP; others are judged by CLIP, and need another one as `source`.

Fits every pipeline, around all other interventions. Costs a pass of CLIP a picture, and the
pictures of other objects.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch

from whitebear.errors import UserError
from whitebear.interventions.method import Drawing, Method, with_values
from whitebear.prompts import caption_of, load_concepts, web_concepts
from whitebear.scoring.clip import Clip, load_clip
from whitebear.scoring.detector import ZeroShotDetector

OTHERS, SEEDS = 24, range(9000, 9004)
_VECTORS: WeakKeyDictionary = WeakKeyDictionary()  # pipeline -> what draws and sees -> vectors


def _why_not(artist: Drawing, source: str | None = None, **_) -> str:
    if source is None and not artist.pocket:
        return "CLIP judges this model, and a filter may not be the judge; give source=..."
    if source is not None and not artist.pocket and str(source) == str(artist.judge.source):
        return f"{source} judges this model, and a filter may not be the judge; give another source"
    return ""


def _output_filter(
    artist: Drawing, rows: pd.DataFrame, strength: float, source: str | None = None
) -> Iterator["Screen"]:
    """Give out pictures of the rows' concepts black; strength: share of false alarms, 0 to 1.

    source: another CLIP, a folder or hub id as for `load_clip`.
    """
    if any(given is not None for given in (artist.screen, artist.prompts, artist.negatives)):
        raise UserError("a filter stands around other interventions; begin its block before theirs")
    clip = artist.judge.clip if source is None else load_clip(source, artist.judge.device)
    others, vectors = _other_objects(artist, clip, str(source))
    screen = Screen(clip, list(rows.concept), others, vectors, strength)
    with with_values(artist, screen=screen):
        yield screen


class Screen:
    """Blocks pictures. thresholds: the score of each concept that is too much; blocked: of every
    picture so far, whether it was.

    concepts: what is looked for, of each picture in their order; others, vectors: pictures of other
    objects, by what they show and as unit vectors; share: of these, how many may be blocked.
    """

    def __init__(
        self, clip: Clip, concepts: list[str], others: list[str], vectors: torch.Tensor,
        share: float,
    ):  # fmt: skip
        self.concepts = concepts
        self.detector = ZeroShotDetector(clip, sorted(set(concepts)))
        self.blocked: list[bool] = []
        scores, shown = self.detector.logits_of(vectors), np.array(others)
        self.thresholds = {
            concept: _threshold(scores[concept][shown != concept].to_numpy(), share)
            for concept in self.detector.concepts
        }

    def __call__(self, rows: pd.DataFrame, images: np.ndarray) -> np.ndarray:
        """The images of rows, with those that are blocked in black."""
        first = len(self.blocked)
        concepts = self.concepts[first : first + len(rows)]
        if len(concepts) < len(rows):
            raise UserError(
                f"more is drawn than the {len(self.concepts)} rows that the intervention was"
                " given; draw these"
            )
        scores = self.detector.logits(images)
        stop = np.array([scores[c][i] > self.thresholds[c] for i, c in enumerate(concepts)])
        self.blocked += stop.tolist()
        return np.where(stop[:, None, None, None], np.uint8(0), images)


def _threshold(scores: np.ndarray, share: float) -> float:
    """The lowest score that no more than a share of the scores exceed."""
    ranked = np.append(-np.sort(-scores), -np.inf)
    return float(ranked[int(share * len(scores))])


def _other_objects(artist: Drawing, clip: Clip, source: str) -> tuple[list[str], torch.Tensor]:
    """What pictures of objects show that are drawn for comparison, and their unit vectors."""
    web = web_concepts()
    names = load_concepts().objects if artist.pocket else web.name[web.kind == "object"]
    others = [name for name in names[:OTHERS] for _ in SEEDS]
    known = _VECTORS.setdefault(artist.pipe, {})
    key = artist.steps, artist.guidance, artist.parts, source
    if key not in known:
        captions = [caption_of(name) for name in others]
        seeds = list(SEEDS) * (len(others) // len(SEEDS))
        table = pd.DataFrame({"concept": others, "seed": seeds, "prompt": captions})
        known[key] = clip.images(artist.draw(table, progress=False))
    return others, known[key]


output_filter = Method(
    "output_filter", _output_filter, default=0.05, neutral=0.0, highest=1.0, why_not=_why_not
)
