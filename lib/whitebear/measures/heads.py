"""Attention under a magnifying glass: denominators, layers, heads, and what it says of pictures."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import mannwhitneyu, spearmanr

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.hooks import capture_attention
from whitebear.measures.attention import SAMPLES, nouns, of_rows, tidy
from whitebear.measures.changes import add_relative, against_controls

KEYS = ["concept", "wording", "seed"]  # what tells images of a grid apart
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


def add_auc(table: pd.DataFrame, heads: pd.DataFrame) -> pd.DataFrame:
    """Rows of a grid with `auc`: attention to the concept, mean over steps, layers and heads.

    heads: of `kept`.
    """
    mass = heads.groupby(KEYS, sort=False).mass.mean().rename("auc")
    return table.join(mass, on=KEYS)


def as_share(tokens: pd.DataFrame, denominator: str) -> pd.DataFrame:
    """A row an image, with `auc`: the concept's part of all attention that goes to what
    `denominator` keeps.

    tokens: of `kept`, where means over steps, layers and heads are taken before dividing: a head
    that looks at nothing but padding has no share of words to give.
    """
    of = tokens.set_index(list(SAMPLES))
    part, left_out = of[of.token == "concept"].mass, of[of.token.isin(DENOMINATORS[denominator])]
    left_out = left_out.groupby(level=list(SAMPLES)).mass.sum()
    return (part / (1 - left_out.reindex(part.index, fill_value=0.0))).rename("auc").reset_index()


def by_denominator(tokens: pd.DataFrame, by: str = "condition") -> pd.DataFrame:
    """What each instruction changes, by what the attention to the concept is a share of.

    by: "condition" or "wording". Index (denominator, `by`); columns of `against_controls` and
    relative, the change as a part of the control's (`Estimate`).
    """
    parts = {d: add_relative(against_controls(as_share(tokens, d), "auc", by))
             for d in DENOMINATORS}  # fmt: skip
    return pd.concat(parts, names=["denominator", by])


def by_layer(heads: pd.DataFrame) -> pd.DataFrame:
    """The same layer by layer, heads averaged. Index (layer, condition)."""
    mean = heads.groupby(["layer", *SAMPLES], sort=False).mass.mean().reset_index()
    parts = {layer: add_relative(against_controls(rows, "mass"))
             for layer, rows in mean.groupby("layer", sort=False)}  # fmt: skip
    return pd.concat(parts, names=["layer", "condition"])


def by_head(heads: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Change of the mass under one condition for each layer (rows) and head (columns); NaN where a
    layer lacks a head."""
    found: dict[str, dict[int, float]] = {}
    for (layer, head), rows in heads.groupby(["layer", "head"], sort=False):
        pairs = stats.add_control(rows, "mass")
        change = pairs.difference[pairs.condition == condition].mean()
        found.setdefault(layer, {})[head] = change
    return pd.DataFrame.from_dict(found, orient="index")


def short_layers(names) -> dict[str, str]:
    """ "down_blocks.0.attentions.0...attn2" -> "down 0.0", for the axes of a figure."""
    found = {}
    for name in names:
        parts = name.replace("_blocks", "").replace("_block", "").split(".")
        found[name] = " ".join([parts[0], ".".join(p for p in parts[1:] if p.isdigit())[:3]])
    return found


# --- does attention tell what is drawn? ----------------------------------------------------------


def by_wording(table: pd.DataFrame, heads: pd.DataFrame) -> pd.DataFrame:
    """Per instruction and concept: change of log attention and of presence against the control.

    table: with a column present. Columns wording, condition, concept, attention, presence.
    """
    rows = add_auc(table, heads)
    log = stats.add_control(
        rows.assign(log=np.log(np.maximum(rows.auc.astype(float), 1e-9))), "log"
    )
    seen = stats.add_control(table, "present")
    both = log.assign(attention=log.difference, presence=seen.difference)
    keys = ["wording", "condition", "concept"]
    return both.groupby(keys, sort=False)[["attention", "presence"]].mean().reset_index()


def rank_correlation(rows: pd.DataFrame) -> stats.Estimate:
    """Spearman's rho between the changes of attention and of presence over wordings.

    The interval speaks about other concepts and other wordings: both are resampled, each by itself
    (Owen 2007, "The pigeonhole bootstrap"). A rank correlation is no smooth function of sums, as
    `stats.crossed_interval` would have it. NaN for fewer than three wordings, or two concepts.
    """
    tables = [rows.pivot(index="concept", columns="wording", values=v).to_numpy()
              for v in ("attention", "presence")]  # fmt: skip

    def rho(concepts: np.ndarray, wordings: np.ndarray) -> float:
        attention, presence = (t[np.ix_(concepts, wordings)].mean(0) for t in tables)
        if len(set(attention)) < 2 or len(set(presence)) < 2:
            return np.nan
        return float(spearmanr(attention, presence).statistic)

    n, words = tables[0].shape
    value = rho(np.arange(n), np.arange(words))
    low = high = np.nan
    if n > 1 and words > 2:
        rng = np.random.default_rng(stats.SEED)
        drawn = [rho(rng.integers(n, size=n), rng.integers(words, size=words)) for _ in range(1000)]
        if known := [one for one in drawn if not np.isnan(one)]:
            low, high = map(float, np.quantile(known, [0.025, 0.975]))
    return stats.Estimate(value, low, high, len(rows), n, words)


def separation(table: pd.DataFrame, heads: pd.DataFrame) -> pd.Series:
    """How well attention to the word tells pictures with it from those without, by condition.

    Area under the ROC curve: 0.5 is not at all, 1 is perfectly, below 0.5 is the wrong way round.
    NaN where all pictures have it or none has.
    """
    found = {}
    for condition, some in add_auc(table, heads).groupby("condition", sort=False):
        mass, present = some.auc.to_numpy(), some.present.to_numpy(bool)
        if present.all() or not present.any():
            found[condition] = np.nan
            continue
        test = mannwhitneyu(mass[present], mass[~present])
        found[condition] = test.statistic / (present.sum() * (~present).sum())
    return pd.Series(found, name="area under the ROC curve")
