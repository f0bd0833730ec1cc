"""What an instruction does to the states of the text encoder.

A prompt is summed up at five places: `concept` (mean over the tokens that name or describe it),
`eos` (the end token, CLIP's summary of the prompt), `pad` (mean over the padding, which Stable
Diffusion attends to as well), `words` (mean over all words) and `all` (mean over all positions).
"""

import re

import numpy as np
import pandas as pd
import xarray as xr
from diffusers import DiffusionPipeline

from whitebear import stats
from whitebear.errors import UserError
from whitebear.hooks.text import text_states
from whitebear.hooks.words import tokenise
from whitebear.measures.changes import against_controls
from whitebear.models.families import T5_LENGTH
from whitebear.prompts import fill, load_wordings

PLACES = ("concept", "eos", "pad", "words", "all")
ANCHOR, PARAPHRASE = "affirm-picture", "affirm-request"
PLACE_NAMES = {
    "concept": "concept's tokens", "eos": "end token", "pad": "padding",
    "words": "mean of the words", "all": "mean of all positions",
}  # fmt: skip
FINAL = "final"  # after the last norm: what Stable Diffusion 1.x attends to
BATCH = 64
SPLITS = ("new concepts", "new wordings", "both new")
KEPT = ["concept", "condition", "wording", "control", "heldout", "pair", "seed"]  # of a grid


def vectors(
    pipe: DiffusionPipeline, table: pd.DataFrame, encoder: str = "text_encoder"
) -> xr.DataArray:
    """States of each row's prompt, float32 (row, layer, place, feature).

    table: of `prompt_grid`. Layers "0" (embeddings), "1", ... and "final". `concept` is NaN where
    the prompt does not name it.
    """
    keys = list(zip(table.prompt, map(_as_key, table.spans), strict=True))
    unique = list(dict.fromkeys(keys))
    tokenizer = getattr(pipe, encoder.replace("text_encoder", "tokenizer"))
    length, parts = min(tokenizer.model_max_length, T5_LENGTH), []
    for start in range(0, len(unique), BATCH):
        some = unique[start : start + BATCH]
        states = text_states(pipe, [prompt for prompt, _ in some], encoder)[encoder]
        offsets = tokenise(tokenizer, [prompt for prompt, _ in some], 0, length).offsets
        parts.append(_at_places(states, offsets, [spans for _, spans in some]))
    row_of = {key: i for i, key in enumerate(unique)}
    layers = [*map(str, range(parts[0].shape[1] - 1)), FINAL]
    return xr.DataArray(
        np.concatenate(parts)[[row_of[key] for key in keys]],
        dims=("row", "layer", "place", "feature"),
        coords={"layer": layers, "place": list(PLACES)},
    )


def _as_key(spans) -> tuple[tuple[int, int], ...]:
    return tuple((int(start), int(end)) for start, end in spans)


def _at_places(states: xr.Dataset, offsets, spans) -> np.ndarray:
    """(prompt, layer, place, feature) of one batch."""
    values = np.concatenate([states["states"].values, states["last"].values[:, None]], axis=1)
    role = states.role.values
    named = np.array([
        [any(a < stop and b > begin for begin, stop in where) for a, b in row]
        for row, where in zip(offsets, spans, strict=True)
    ])  # fmt: skip
    masks = [named, role == "eos", role == "pad", role == "other", np.ones_like(named)]
    weights = np.stack([np.asarray(m, np.float32) for m in masks], axis=1)  # (prompt, place, pos)
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.full_like(weights, np.nan), where=total > 0)
    return np.einsum("nps,nlsf->nlpf", weights, values, dtype=np.float32)


def cosine(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    """Cosine along `feature`, in double precision: most of them are close to 1."""
    a, b = a.astype("float64"), b.astype("float64")
    norm = lambda x: np.sqrt((x * x).sum("feature", skipna=False))  # noqa: E731
    return (a * b).sum("feature", skipna=False) / (norm(a) * norm(b))


def _rows_like(table: pd.DataFrame, wordings) -> np.ndarray:
    """For each row, the index of the row with the same concept and seed and this wording."""
    at = {key: i for i, key in enumerate(zip(table.concept, table.wording, table.seed,
                                             strict=True))}  # fmt: skip
    return np.array([at[c, w, s] for c, w, s in zip(table.concept, wordings, table.seed,
                                                    strict=True)])  # fmt: skip


def similarity(table: pd.DataFrame, states: xr.DataArray, plain: str = ANCHOR) -> pd.DataFrame:
    """Cosine of each prompt to the plain request for its concept, the wording `plain`.

    One row a (prompt, layer, place): what tells the rows of `table` apart, then layer, place,
    cosine, unrelated, and standardised = (cosine - unrelated) / (1 - unrelated), where `unrelated`
    is the mean cosine to the plain request for another concept: 1 is the same prompt, 0 one about
    something else. NaN where all plain requests have the same state.
    """
    anchor = _rows_like(table, [plain] * len(table))
    cosines = cosine(states, states[anchor])
    other = _unrelated(table, states, plain)
    n, layers, places = cosines.shape
    frame = table[KEPT].loc[table.index.repeat(layers * places)].reset_index(drop=True)
    found = frame.assign(
        layer=np.tile(np.repeat(states.layer.values, places), n),
        place=np.tile(states.place.values, n * layers),
        cosine=cosines.values.ravel(),
        unrelated=np.tile(other.values.ravel(), n),
    )
    return add_standardised(found)


def add_standardised(similar: pd.DataFrame) -> pd.DataFrame:
    """The rows of `similarity` with `standardised`, which follows from two of their columns."""
    cosine, unrelated = similar.cosine.astype(float), similar.unrelated.astype(float)
    room = (1 - unrelated).where(unrelated < 1 - 1e-9)
    return similar.assign(standardised=(cosine - unrelated) / room)


def _unrelated(table: pd.DataFrame, states: xr.DataArray, plain: str) -> xr.DataArray:
    """Mean cosine between plain requests for different concepts, (layer, place)."""
    first = table.reset_index(drop=True).query("wording == @plain").groupby("concept").head(1)
    if len(first) < 2:
        raise UserError(
            "similarity is measured against requests for other things; give two concepts"
        )
    requests = states[first.index.to_numpy()]
    shifts = range(1, len(first))
    mean = [cosine(requests, requests.roll(row=k)).mean("row") for k in shifts]
    return sum(mean) / len(mean)


def baselines(similar: pd.DataFrame) -> pd.DataFrame:
    """The four yardsticks per layer and place, in standardised similarity.

    identical (1 by definition), paraphrase, repetition (the `repeat` wordings), unrelated (0).
    """
    keys = ["layer", "place"]
    mean = lambda rows: rows.groupby(keys).standardised.mean()  # noqa: E731
    return pd.DataFrame({
        "paraphrase": mean(similar[similar.wording == PARAPHRASE]),
        "repetition": mean(similar[similar.condition == "repeat"]),
    }).assign(identical=1.0, unrelated=0.0)  # fmt: skip


def changes(
    similar: pd.DataFrame, column: str = "standardised", by: str = "condition"
) -> pd.DataFrame:
    """What each kind of instruction, or each wording, changes against its control, per layer and
    place.

    by: "condition" or "wording". Index (`by`, layer, place); columns of `against_controls`.
    """
    parts = {key: against_controls(some, column, by)
             for key, some in similar.groupby(["layer", "place"], sort=False)}  # fmt: skip
    table = pd.concat(parts, names=["layer", "place", by])
    return table.reorder_levels([by, "layer", "place"])


def wording_changes(similar: pd.DataFrame) -> pd.Series:
    """How far each wording moves the end token's last state against its control (`Estimate` over
    concepts): index wording."""
    end = similar[(similar.layer == FINAL) & (similar.place == "eos")]
    return changes(end, by="wording").difference.droplevel(["layer", "place"])


# --- probes --------------------------------------------------------------------------------------


def ridge_probe(x: np.ndarray, y: np.ndarray, train: np.ndarray, penalty: float = 0.1):
    """Scores (n,) of a linear classifier for y in {False, True}: ridge regression on +-1.

    x: (n, features), standardised on the training rows; penalty: times the number of those rows.
    """
    mean, scale = x[train].mean(0), x[train].std(0) + 1e-6
    z = np.concatenate([(x - mean) / scale, np.ones((len(x), 1))], axis=1)
    a, target = z[train], np.where(y[train], 1.0, -1.0)
    gram = a.T @ a + penalty * len(a) * np.eye(z.shape[1])
    return z @ np.linalg.solve(gram, a.T @ target)


def probe(table: pd.DataFrame, states: xr.DataArray, layer: str = FINAL) -> pd.DataFrame:
    """Can a linear probe tell an instruction from its control, on what it was not trained on?

    Trained on half of the concepts and half of the wordings (in all four ways), tested on the rest.
    Returns one row a (prompt, place, split): concept, wording, place, split of SPLITS, present
    (whether the probe is right; balanced, so chance is one half).
    """
    rows = table.reset_index(drop=True)
    told = rows[rows.control != ""]
    pairs = np.stack([told.index.to_numpy(), _rows_like(rows, rows.control.where(
        rows.control != "", rows.wording))[told.index]], axis=1)  # fmt: skip
    both, y = pairs.ravel(), np.tile([True, False], len(pairs))
    concept, wording = rows.concept.to_numpy()[both], rows.wording.to_numpy()[both]
    group = np.repeat(told.heldout.to_numpy(), 2)
    half = np.isin(concept, list(dict.fromkeys(concept))[::2])
    found = []
    for place in PLACES:
        x = states.sel(layer=layer, place=place).values[both].astype(float)
        for mine in (half, ~half):
            for words in (group, ~group):
                right = (ridge_probe(x, y, mine & words) > 0) == y
                tests = zip(SPLITS, (~mine & words, mine & ~words, ~mine & ~words), strict=True)
                found += [pd.DataFrame({"concept": concept[test], "wording": wording[test],
                                        "present": right[test], "place": place, "split": name})
                          for name, test in tests]  # fmt: skip
    return pd.concat(found, ignore_index=True)


def accuracy(found: pd.DataFrame, place: str, split: str = SPLITS[-1]) -> stats.Estimate:
    """How often a probe is right at a place of the prompt, by default on new concepts and new
    wordings, and so with an interval that speaks about others of both. found: of `probe`."""
    return stats.rate(found[(found.place == place) & (found.split == split)], over=stats.KIND)


# --- token ablation ------------------------------------------------------------------------------


def without_each_word(pipe: DiffusionPipeline, wording: str, nouns: dict[str, str]) -> pd.DataFrame:
    """How far the end token's state moves when one word of a wording is left out.

    nouns: concept -> noun; the wording holds no other hole than {c}. Columns word (its place and
    text), concept, moved = 1 - cosine to the state of the whole prompt.
    """
    words = load_wordings().set_index("id").text[wording].split()
    rows = []
    for concept, noun in nouns.items():
        for left_out in (None, *range(len(words))):
            kept = " ".join(w for i, w in enumerate(words) if i != left_out)
            rows.append((concept, left_out, *fill(kept, c=noun)))
    table = pd.DataFrame(rows, columns=["concept", "word", "prompt", "spans"])
    end = vectors(pipe, table).sel(layer=FINAL, place="eos")
    whole = np.repeat(np.flatnonzero(table.word.isna()), len(words) + 1)
    moved = 1 - cosine(end, end[whole]).values
    names = [f"{i + 1} {re.sub('{c}', '[concept]', w)}" for i, w in enumerate(words)]
    table = table.assign(moved=moved).dropna(subset="word")
    return table.assign(word=[names[int(i)] for i in table.word])[["word", "concept", "moved"]]


# --- caption and image ---------------------------------------------------------------------------


def interaction(clip, present: np.ndarray, absent: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """Does CLIP match "without" to the picture that lacks the concept? A 2 x 2 decomposition.

    present, absent: pictures uint8 (n, H, W, 3) of the same scenes with and without the concept;
    rows: columns concept, affirm, negate (their captions). S is the cosine of picture and caption.
    Adds image = effect of the concept's presence, caption = effect of saying "with" instead of
    "without", interaction = their coupling. Both captions, and both pictures, are matched rightly
    only if interaction > max(|image|, |caption|) (column `present`).
    """
    with_, without = clip.images(present), clip.images(absent)
    affirm, negate = clip.text(rows.affirm), clip.text(rows.negate)
    score = lambda image, text: (image * text).sum(-1).numpy().astype(float)  # noqa: E731
    s11, s10 = score(with_, affirm), score(with_, negate)
    s01, s00 = score(without, affirm), score(without, negate)
    image, caption = (s11 + s10 - s01 - s00) / 2, (s11 + s01 - s10 - s00) / 2
    coupled = (s11 - s10 - s01 + s00) / 2
    right = coupled > np.maximum(np.abs(image), np.abs(caption))
    return rows.assign(image=image, caption=caption, interaction=coupled, present=right)
