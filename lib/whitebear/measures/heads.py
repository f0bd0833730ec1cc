"""Attention under a magnifying glass: denominators, layers, heads, and what it says of pictures."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import mannwhitneyu, spearmanr

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.hooks import capture_attention
from whitebear.measures.attention import nouns, of_rows, tidy
from whitebear.measures.changes import against_controls

DENOMINATORS = {
    "all tokens": (),
    "without the start token": ("<bos>",),
    "without start and end token": ("<bos>", "<eos>"),
    "words only": ("<bos>", "<eos>", "<pad>"),
}


def watch_heads(artist: Artist, table: pd.DataFrame) -> tuple[pd.DataFrame, xr.Dataset]:
    """The rows of a grid drawn and judged, and attention to the concept's word head by head.

    Returns the rows with p_asked, present and logit, and a dataset as of `attention.watch` without
    maps: mass (sample, step, layer, head, token), NaN for heads that a layer lacks, which no mean
    counts.
    """
    prompts = list(table.prompt)
    with capture_attention(
        artist.pipe, {"concept": nouns(table)}, ("mass",), heads="all", prompts=prompts
    ) as capture:
        rows = artist.draw_and_judge(table)
    return rows, of_rows(capture.dataset(), table)


def aucs(data: xr.Dataset) -> xr.DataArray:
    """Mean mass of the concept over the steps, (sample, layer, head)."""
    return data.mass.sel(token="concept", drop=True).mean("step")


def kept(data: xr.Dataset) -> dict[str, pd.DataFrame]:
    """What is published of `watch_heads`, as rows of `attention.tidy`: tokens, the mass of each
    token and role, mean over steps, layers and heads; heads, that of the concept in each head."""
    heads = tidy(aucs(data)).dropna(subset="mass", ignore_index=True)
    return {"tokens": tidy(data.mass.mean(("step", "layer", "head"))), "heads": heads}


def as_share(data: xr.Dataset, denominator: str) -> np.ndarray:
    """(sample,): the concept's part of all attention that goes to what `denominator` keeps.

    Means over steps, layers and heads are taken before dividing: a head that looks at nothing but
    padding has no share of words to give.
    """
    mean = data.mass.mean(("step", "layer", "head"))
    left_out = mean.sel(token=[*DENOMINATORS[denominator]]).sum("token")
    return (mean.sel(token="concept", drop=True) / (1 - left_out)).values


def _changes(table: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """`against_controls` of one number a row, with the relative change (`Estimate`)."""
    found = against_controls(table.assign(auc=values), "auc")
    pairs = zip(found.difference, found.control_value, strict=True)
    return found.assign(relative=[difference.relative_to(control) for difference, control in pairs])


def by_denominator(table: pd.DataFrame, data: xr.Dataset) -> pd.DataFrame:
    """What each instruction changes, by what the attention to the concept is a share of.

    Index (denominator, condition).
    """
    parts = {d: _changes(table, as_share(data, d)) for d in DENOMINATORS}
    return pd.concat(parts, names=["denominator", "condition"])


def by_layer(table: pd.DataFrame, data: xr.Dataset) -> pd.DataFrame:
    """The same layer by layer, heads averaged. Index (layer, condition)."""
    auc = aucs(data).mean("head")
    parts = {name: _changes(table, auc.sel(layer=name).values) for name in data.layer.values}
    return pd.concat(parts, names=["layer", "condition"])


def by_head(table: pd.DataFrame, data: xr.Dataset, condition: str) -> pd.DataFrame:
    """Change of the AUC under one condition for each layer (rows) and head (columns); NaN where a
    layer lacks a head."""
    auc, rows = aucs(data), {}
    for name in data.layer.values:
        some = auc.sel(layer=name)
        rows[name] = [_changes(table, some.isel(head=h).values).difference[condition].value
                      for h in range(int(some.heads))]  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def short_layers(names) -> dict[str, str]:
    """ "down_blocks.0.attentions.0...attn2" -> "down 0.0", for the axes of a figure."""
    found = {}
    for name in names:
        parts = name.replace("_blocks", "").replace("_block", "").split(".")
        found[name] = " ".join([parts[0], ".".join(p for p in parts[1:] if p.isdigit())[:3]])
    return found


# --- does attention tell what is drawn? ----------------------------------------------------------


def by_wording(table: pd.DataFrame, data: xr.Dataset) -> pd.DataFrame:
    """Per instruction and concept: change of log attention and of presence against the control.

    table: with a column present. Columns wording, condition, concept, attention, presence.
    """
    auc = aucs(data).mean(("layer", "head")).values
    log = stats.add_control(table.assign(log=np.log(np.maximum(auc, 1e-9))), "log")
    seen = stats.add_control(table, "present")
    both = log.assign(attention=log.difference, presence=seen.difference)
    keys = ["wording", "condition", "concept"]
    return both.groupby(keys, sort=False)[["attention", "presence"]].mean().reset_index()


def rank_correlation(rows: pd.DataFrame) -> stats.Estimate:
    """Spearman's rho between the changes of attention and of presence over wordings.

    The interval resamples concepts: each time, wordings are averaged over the concepts drawn.
    """
    attention, presence = (rows.pivot(index="concept", columns="wording", values=v).to_numpy()
                           for v in ("attention", "presence"))  # fmt: skip

    def rho(pick: np.ndarray) -> float:
        return float(spearmanr(attention[pick].mean(0), presence[pick].mean(0)).statistic)

    n = len(attention)
    value = rho(np.arange(n))
    if n < 2:
        return stats.Estimate(value, np.nan, np.nan, len(rows), n)
    rng = np.random.default_rng(stats.SEED)
    drawn = np.array([rho(rng.integers(n, size=n)) for _ in range(1000)])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return stats.Estimate(value, float(low), float(high), len(rows), n)


def separation(table: pd.DataFrame, data: xr.Dataset) -> pd.Series:
    """How well attention to the word tells pictures with it from those without, by condition.

    Area under the ROC curve: 0.5 is not at all, 1 is perfectly, below 0.5 is the wrong way round.
    NaN where all pictures have it or none has.
    """
    auc = aucs(data).mean(("layer", "head")).values
    found = {}
    for condition, some in table.reset_index(drop=True).groupby("condition", sort=False):
        mass, present = auc[some.index], some.present.to_numpy(bool)
        if present.all() or not present.any():
            found[condition] = np.nan
            continue
        test = mannwhitneyu(mass[present], mass[~present])
        found[condition] = test.statistic / (present.sum() * (~present).sum())
    return pd.Series(found, name="area under the ROC curve")
