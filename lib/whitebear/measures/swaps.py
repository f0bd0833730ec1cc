"""Where does the word travel? Text states swapped between prompts, and what is drawn then.

One prompt of a concept and seed is drawn with some text states of another one for the same concept,
seed and noise. If the picture follows the other prompt, those states carried the difference.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.hooks import patch_text
from whitebear.interventions import weigh
from whitebear.measures.attention import nouns
from whitebear.prompts import prompt_grid
from whitebear.stats import Estimate

PARTS = {
    "concept": ("concept",),
    "end token": ("eos",),
    "padding": ("pad",),
    "end token and padding": ("eos", "pad"),
    "everything, first half": ("all",),
    "everything, second half": ("all",),
}
AFTER = [part for part in PARTS if part != "concept"]  # where the concept is named in one only


@dataclass(frozen=True)
class Swap:
    """Draw the wording `base` with parts of the text states of the wording `source`."""

    base: str
    source: str
    parts: tuple[str, ...]


SWAPS = (
    Swap("negate-no", "affirm-and", tuple(PARTS)),
    Swap("affirm-and", "negate-no", tuple(PARTS)),
    Swap("omit-picture", "affirm-and", tuple(AFTER)),
)
CONDITIONS = ["omit", "affirm", "negate"]


def grid(concepts: list[str], seeds: int | list[int], artist: Artist) -> pd.DataFrame:
    """Rows of `prompt_grid` for the wordings that are swapped."""
    table = prompt_grid(concepts, CONDITIONS, seeds, free=not artist.pocket)
    needed = {name for swap in SWAPS for name in (swap.base, swap.source)}
    return table[table.wording.isin(needed)].reset_index(drop=True)


def pictures(table: pd.DataFrame) -> int:
    """How many pictures `draw` makes of the rows of `grid`."""
    of_a_wording = len(table) // table.wording.nunique()
    return len(table) + of_a_wording * (sum(len(swap.parts) for swap in SWAPS) + 2)


def steps_of(part: str, calls: int) -> str | list[int]:
    """The calls of the denoiser in which a part is swapped: all, unless its name says which half.

    Schedulers make one a step, or more: that of Stable Diffusion 1.5 one beside them, Heun's two.
    """
    half = calls // 2
    if part.endswith("first half"):
        return list(range(half))
    return list(range(half, calls)) if part.endswith("second half") else "all"


def draw(artist: Artist, table: pd.DataFrame) -> pd.DataFrame:
    """Every picture of the chapter: plain ones (part ""), swapped ones, and ones without the word.

    table: of `grid`. Returns its columns with source, part, p_asked, present and logit, for
    `calibration.calibrate`, which learns from the plain pictures of all concepts. The part "no
    attention" draws a prompt with the concept's tokens taken out of every softmax. Raises
    `UserError` for one step.
    """
    if artist.steps == 1:
        raise UserError("steps is 1, which has no halves to swap states in; give at least 2")
    plain = {w: rows.reset_index(drop=True) for w, rows in table.groupby("wording", sort=False)}
    found = []

    def keep(rows: pd.DataFrame, images: np.ndarray, source: str, part: str) -> None:
        found.append(artist.judged(rows, images).assign(source=source, part=part))

    for rows in plain.values():
        keep(rows, artist.draw(rows), "", "")
    calls = len(artist.pipe.scheduler.timesteps)  # of the pictures just drawn
    for swap in SWAPS:
        rows, source = plain[swap.base], plain[swap.source]
        prompts = list(rows.prompt), list(source.prompt)
        for part in swap.parts:
            words = nouns(source) if part == "concept" else None
            steps = steps_of(part, calls)
            with patch_text(artist.pipe, *prompts, PARTS[part], concept=words, steps=steps):
                images = artist.draw(rows)
            keep(rows, images, swap.source, part)
    for wording in ("affirm-and", "negate-no"):
        with weigh(artist, plain[wording], 0.0):
            keep(plain[wording], artist.draw(plain[wording]), "", "no attention")
    return pd.concat(found, ignore_index=True)


def shares(found: pd.DataFrame) -> pd.DataFrame:
    """How far each swap goes on the way from its base to its source.

    share = (rate with the swap - rate of the base) / (rate of the source - rate of the base), with
    a cluster bootstrap over concepts: 0 is no effect, 1 is as if the whole prompt were swapped.
    Index (base, source, part); columns rate (`Estimate`), base_rate, source_rate, share.
    """
    keys = ["concept", "seed"]
    plain = found[found.part == ""].set_index(["wording", *keys]).present.astype(float)
    rows = {}
    for swap in SWAPS:
        for part in swap.parts:
            some = found[(found.wording == swap.base) & (found.source == swap.source)
                         & (found.part == part)]  # fmt: skip
            both = some[keys].assign(
                patched=some.present.astype(float),
                base=some.join(plain[swap.base].rename("base"), on=keys).base,
                source=some.join(plain[swap.source].rename("source_rate"), on=keys).source_rate,
            )
            rows[swap.base, swap.source, part] = {
                "rate": stats.rate(some), "base_rate": both.base.mean(),
                "source_rate": both.source.mean(), "share": _share(both),
            }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["base", "source", "part"])
    return table


def _share(both: pd.DataFrame) -> Estimate:
    """Never narrower than the Wilson interval of the swapped pictures, put on the same scale."""
    sums = both.groupby("concept")[["patched", "base", "source"]].sum().to_numpy()

    def statistic(totals: np.ndarray) -> np.ndarray:
        way = totals[..., 2] - totals[..., 1]
        gone = totals[..., 0] - totals[..., 1]
        return np.divide(gone, way, out=np.full(np.shape(way), np.nan), where=np.abs(way) > 1e-9)

    value, low, high = stats.cluster_bootstrap(sums, statistic)
    base, source = both.base.mean(), both.source.mean()
    if not np.isnan(value):
        ends = np.array(stats.wilson(both.patched.sum(), len(both)))
        floor_low, floor_high = sorted((ends - base) / (source - base))
        low, high = float(np.fmin(low, floor_low)), float(np.fmax(high, floor_high))
    return Estimate(value, low, high, len(both), len(sums))
