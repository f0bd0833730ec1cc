"""Attention to a concept's word over the denoising steps, condition by condition.

mass = mean over image queries of the attention to all tokens of the concept (see
`hooks.capture_attention`), averaged over cross-attention layers; AUC = its mean over the steps.
"""

import numpy as np
import pandas as pd
import xarray as xr

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.hooks import capture_attention
from whitebear.interventions import Method, negative_prompt, weigh
from whitebear.measures.changes import OVER, add_relative, against_controls
from whitebear.prompts import named

SAMPLES = ("concept", "wording", "condition", "seed", "control")  # what a sample is of
DROP = 0.10  # declared before any result: a relative fall of the mass by less is no drop


def nouns(table: pd.DataFrame) -> list[str]:
    """The word that stands for the concept in each prompt of a grid. UserError where none does."""
    words = named(table)
    if None in words:
        silent = table.wording.iloc[words.index(None)]
        raise UserError(f"wording {silent} does not name the concept; leave out its condition")
    return words


def of_rows(data: xr.Dataset, table: pd.DataFrame) -> xr.Dataset:
    """The dataset with concept, wording, condition, seed and control of each sample, as
    coordinates: what has been measured says of what."""
    return data.assign_coords({name: ("sample", table[name].to_numpy()) for name in SAMPLES})


def tidy(mass: xr.DataArray) -> pd.DataFrame:
    """A row a sample and whatever else tells masses apart (token, layer, head): concept, wording,
    condition, seed, control, these, and mass.

    mass: of a dataset of `of_rows`, means taken over what need not be kept.
    """
    others = [name for name in mass.dims if name != "sample"]
    rows = mass.rename("mass").to_dataframe().reset_index()
    return rows[[*SAMPLES, *others, "mass"]]


def watch(artist: Artist, table: pd.DataFrame, grid: int = 8) -> tuple[np.ndarray, xr.Dataset]:
    """Make the pictures of a grid and watch attention to each row's concept meanwhile.

    Returns pictures uint8 (N, H, W, 3) and a dataset with mass (sample, step, layer, token) and map
    (..., y, x); token "concept" is the word, the others are the roles <bos>, <eos>, <pad>, <other>.
    """
    prompts = list(table.prompt)
    with capture_attention(
        artist.pipe, {"concept": nouns(table)}, ("mass", "map"), grid=grid, prompts=prompts
    ) as capture:
        images = artist.draw(table)
    return images, of_rows(capture.dataset(), table)


def watch_under(method: Method, artist: Artist, table: pd.DataFrame, strength: float) -> xr.Dataset:
    """As `watch`, under an intervention and without maps."""
    prompts, words = list(table.prompt), {"concept": nouns(table)}
    with (
        method(artist, table, strength),
        capture_attention(artist.pipe, words, prompts=prompts) as capture,
    ):
        artist.draw(table, progress=False)
    return of_rows(capture.dataset(), table)


def add_auc(table: pd.DataFrame, data: xr.Dataset) -> pd.DataFrame:
    """The grid with `auc`, the mean mass of the concept over steps and layers."""
    return table.assign(auc=data.mass.sel(token="concept").mean(("step", "layer")).values)


def shares(data: xr.Dataset) -> pd.DataFrame:
    """Where attention goes, per condition: mean mass of each token and role; rows sum to 1."""
    mean = data.mass.mean(("step", "layer")).to_pandas()
    return mean.groupby(data.condition.values, sort=False).mean()


def curves(table: pd.DataFrame, data: xr.Dataset) -> pd.DataFrame:
    """Mass of the concept per instruction, control and step: means over the seeds of each concept.

    Columns condition, wording, text, concept, step, what ("instruction" or "control"), mass.
    """
    mass = data.mass.sel(token="concept").mean("layer").values  # (sample, step)
    row_of = {
        key: i for i, key in enumerate(zip(table.wording, table.concept, table.seed, strict=True))
    }
    found = []
    for i, row in enumerate(table.itertuples()):
        if row.control:
            pair = {"instruction": i, "control": row_of[(row.control, row.concept, row.seed)]}
            found += [
                (row.condition, row.wording, row.text, row.concept, step, what, mass[j, step])
                for what, j in pair.items()
                for step in range(mass.shape[1])
            ]
    columns = ["condition", "wording", "text", "concept", "step", "what", "mass"]
    every = pd.DataFrame(found, columns=columns)
    return every.groupby(columns[:-1], sort=False).mass.mean().reset_index()


def positive_controls(artist: Artist, table: pd.DataFrame) -> pd.DataFrame:
    """AUC of plain requests with interventions on the concept's word.

    Columns of the grid, auc, and what: weight 1/2, weight 0, negative prompt (left out where it
    would do nothing).
    """
    runs = {
        "weight 1/2": watch_under(weigh, artist, table, 0.5),
        "weight 0": watch_under(weigh, artist, table, 0.0),
    }
    if not negative_prompt.why_not(artist):
        runs["negative prompt"] = watch_under(negative_prompt, artist, table, 1.0)
    return pd.concat([add_auc(table, run).assign(what=what) for what, run in runs.items()])


def changes(rows: pd.DataFrame, by: str = "condition") -> pd.DataFrame:
    """What each instruction changes of the attention to the word, against its control.

    rows: of `add_auc`; by: "condition" or "wording", the index. Columns auc, control_value,
    difference and relative (`stats.Estimate`; of a condition they speak about other wordings, too).
    """
    return add_relative(against_controls(rows, "auc", by)).rename(columns={"value": "auc"})


def by_step(lines: pd.DataFrame, by: str = "condition") -> pd.Series:
    """Relative change of the mass at each step (`stats.Estimate`), as of `changes`: index (`by`,
    step). lines: of `curves`."""
    keys = ["condition", "wording", "concept", "step"]
    wide = lines.set_index([*keys, "what"]).mass.unstack("what").reset_index()
    wide = wide.assign(difference=wide.instruction - wide.control)
    found = {
        key: stats.paired_difference(rows, over=OVER[by]).relative_to(rows.control.mean())
        for key, rows in wide.groupby([by, "step"], sort=False)
    }
    return pd.Series(found).rename_axis([by, "step"])


def lasting(lines: pd.DataFrame, by: str = "condition") -> pd.DataFrame:
    """How long the mass lies below the control's: index `by`, in the order of `lines`.

    Columns steps (their number), and the shares of them at which the interval of the change lies
    below -DROP (below), and above it (above); at the rest it cannot be told.
    """
    change = by_step(lines, by)
    steps = pd.DataFrame({
        "steps": 1,
        "below": change.map(lambda e: e.high < -DROP),
        "above": change.map(lambda e: e.low > -DROP),
    })  # fmt: skip
    found = steps.groupby(level=by, sort=False).agg(
        {"steps": "sum", "below": "mean", "above": "mean"}
    )
    return found.loc[list(dict.fromkeys(lines[by]))]
