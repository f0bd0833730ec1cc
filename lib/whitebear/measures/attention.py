"""Attention to a concept's word over the denoising steps, condition by condition.

mass = mean over image queries of the attention to all tokens of the concept (see
`hooks.capture_attention`), averaged over cross-attention layers; AUC = its mean over the steps.
"""

import numpy as np
import pandas as pd
import xarray as xr

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.draw.generate import fitting_batch, row_noise, slices
from whitebear.errors import UserError
from whitebear.hooks import capture_attention, steer_attention
from whitebear.models.families import call_options, negative_options, takes

DROP = 0.10  # declared before any result: a relative fall of the mass by less is no drop


def nouns(table: pd.DataFrame) -> list[str]:
    """The word that stands for the concept in each prompt of a grid. UserError where none does."""
    if silent := [row.wording for row in table.itertuples() if not len(row.spans)]:
        raise UserError(f"wording {silent[0]} does not name the concept; leave out its condition")
    return [row.prompt[slice(*row.spans[0])] for row in table.itertuples()]


def of_rows(data: xr.Dataset, table: pd.DataFrame) -> xr.Dataset:
    """The dataset with concept, wording, condition, seed and control of each sample, as
    coordinates: what has been measured says of what."""
    names = ("concept", "wording", "condition", "seed", "control")
    return data.assign_coords({name: ("sample", table[name].to_numpy()) for name in names})


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


def can_negate(artist: Artist) -> bool:
    """Whether a negative prompt does anything. Guidance up to 1 runs the prompt's branch alone."""
    return artist.guidance > 1 and takes(artist.pipe, "negative_prompt")


def watch_negative(artist: Artist, table: pd.DataFrame) -> xr.Dataset:
    """As `watch`, with the concept as negative prompt: guidance pushes the picture away from it.

    Raises `UserError` where there is no guidance (see `can_negate`).
    """
    pipe, guidance = artist.pipe, artist.guidance
    if not can_negate(artist):
        raise UserError(f"a negative prompt does nothing at guidance {guidance}; give more than 1")
    prompts, words = list(table.prompt), nouns(table)
    options = call_options(pipe) | negative_options(pipe, guidance)
    with capture_attention(pipe, {"concept": words}, prompts=prompts) as capture:
        for rows in slices(len(table), fitting_batch(pipe)):
            pipe(
                prompts[rows], negative_prompt=words[rows], num_inference_steps=artist.steps,
                generator=row_noise(table.iloc[rows]), output_type="latent", **options,
            )  # fmt: skip
    return of_rows(capture.dataset(), table)


def watch_weighted(artist: Artist, table: pd.DataFrame, weight: float) -> xr.Dataset:
    """As `watch`, with the concept's tokens weighted in every softmax (0: taken out)."""
    prompts, words = list(table.prompt), {"concept": nouns(table)}
    with (
        steer_attention(artist.pipe, words, weight, renormalize=True, prompts=prompts),
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
    """Mass of the concept per instruction, twin and step: means over the seeds of each concept.

    Columns condition, wording, text, concept, step, what ("instruction" or "twin"), mass.
    """
    mass = data.mass.sel(token="concept").mean("layer").values  # (sample, step)
    row_of = {
        key: i for i, key in enumerate(zip(table.wording, table.concept, table.seed, strict=True))
    }
    found = []
    for i, row in enumerate(table.itertuples()):
        if row.control:
            pair = {"instruction": i, "twin": row_of[(row.control, row.concept, row.seed)]}
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
    would do nothing, see `can_negate`).
    """
    runs = {
        "weight 1/2": watch_weighted(artist, table, 0.5),
        "weight 0": watch_weighted(artist, table, 0.0),
    }
    if can_negate(artist):
        runs["negative prompt"] = watch_negative(artist, table)
    return pd.concat([add_auc(table, run).assign(what=what) for what, run in runs.items()])


def sustained_drop(lines: pd.DataFrame) -> bool:
    """Whether the instruction's mass lies more than DROP below its twin's in half of the steps."""
    means = lines.groupby(["step", "what"]).mass.mean().unstack()
    fall = 1 - means.instruction / means.twin
    return bool((fall > DROP).mean() >= 0.5)


def changes(table: pd.DataFrame, data: xr.Dataset, by: str = "condition") -> pd.DataFrame:
    """Per instruction: AUC, that of its twin, their paired difference, and the sustained drop.

    by: "condition" or "wording". Columns auc, twin, difference (`stats.Estimate`), relative,
    sustained; index as `by`.
    """
    pairs, lines = stats.add_twin(add_auc(table, data), "auc"), curves(table, data)
    rows = {}
    for name, rest in pairs.groupby(by, sort=False):
        difference = stats.paired_difference(rest)
        rows[name] = {
            "auc": rest.auc.mean(),
            "twin": rest.twin.mean(),
            "difference": difference,
            "relative": difference.value / rest.twin.mean(),
            "sustained": sustained_drop(lines[lines[by] == name]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
