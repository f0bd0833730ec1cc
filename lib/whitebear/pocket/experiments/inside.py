"""What a model that was taught negation does differently, measured on its weights.

The taught model differs from the shipped one in two parts, text encoder and denoiser, so each can
also be run with the other's: four models, of which two were never trained together.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from whitebear import stats
from whitebear.draw.artist import Artist, artist_with_part
from whitebear.errors import UserError
from whitebear.interventions import weigh
from whitebear.measures import heads as attention_detail
from whitebear.measures.text_states import accuracy
from whitebear.pocket.world.captions import caption, deniable, load_train_wordings
from whitebear.pocket.world.dataset import scene_rng
from whitebear.pocket.world.scene import load_world
from whitebear.prompts import prompt_grid
from whitebear.stats import Estimate

SHIPPED, TAUGHT = "shipped", "taught"
CAPTION = "caption"  # the condition of a training caption that is used as a prompt


def combinations(taught: str | Path, shipped: Artist) -> dict[tuple[str, str], Artist]:
    """(text encoder, denoiser), each "shipped" or "taught" -> artist. They share their parts.

    taught: folder with text_encoder/ and unet/ of the taught model. Raises `UserError` where these
    do not fit the shipped model.
    """
    unet = Path(taught) / "unet"
    encoder = artist_with_part(shipped, "text_encoder", Path(taught) / "text_encoder")
    return {
        (SHIPPED, SHIPPED): shipped, (TAUGHT, SHIPPED): encoder,
        (SHIPPED, TAUGHT): artist_with_part(shipped, "unet", unet),
        (TAUGHT, TAUGHT): artist_with_part(encoder, "unet", unet),
    }  # fmt: skip


def together(tables: dict, *names: str) -> pd.DataFrame:
    """The rows of several tables in one; what tells the tables apart comes first, as columns."""
    return pd.concat(tables, names=names).reset_index(list(names)).reset_index(drop=True)


# --- the captions themselves ---------------------------------------------------------------------


def captions(concepts: list[str], seeds: int) -> pd.DataFrame:
    """Every negated training caption as a prompt about each concept, {x} being a place.

    A grid as of `prompt_grid`, with a column twice: whether the caption names the concept again
    after it has denied it, as an instruction does ("forget the bear. a beach and a bear"). Raises
    `UserError` without concepts.
    """
    if not concepts:
        raise UserError(
            "no concept is left that captions denied; give one of those,"
            f" such as {load_world().denied[0]}"
        )
    negated = load_train_wordings()["negate"]
    to_eval = {"{n}": "{c}", "{m}": "{d}", "{x}": "{b}"}
    rows = []
    for wording in negated:
        text = wording.text
        for old, new in to_eval.items():
            text = text.replace(old, new)
        rows.append((wording.id, CAPTION, "object", False, False, text, ""))
    wordings = pd.DataFrame(rows, columns=[
        "id", "condition", "kind", "heldout", "pair", "text", "control"])  # fmt: skip
    table = prompt_grid(concepts, [CAPTION], seeds, wordings=wordings)
    return table.assign(twice=table.spans.map(len) > 1)


def by_caption(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Rate of the denied concept (`Estimate`) by caption and model: index (twice, wording)."""
    rates = {
        name: {key: stats.rate(rows) for key, rows in table.groupby(["twice", "wording"])}
        for name, table in tables.items()
    }
    return pd.DataFrame(rates).rename_axis(["twice", "wording"])


def caption_texts() -> dict[str, str]:
    """The negated training captions by id, with the holes as they stand in the file."""
    return {wording.id: wording.text for wording in load_train_wordings()["negate"]}


def what_captions_say(scenes: int, r: float, seed: int = 0) -> pd.DataFrame:
    """Of what a training caption names, how much is absent? Told by what a reader could go by:
    whether the caption says "forget", and whether it names the object once or again.

    Captions negate at rate r and deny half of the objects, which alone are counted. Index (says
    forget, named); columns absent (`Estimate` of the share; each object named is one) and n.
    """
    world, rows = load_world(), []
    nouns = {name: world.concept(name).noun for name in deniable(world, "half")}
    for i in range(scenes):
        rng = scene_rng(seed, "train", i)
        scene = world.sample_scene(rng)
        text = caption(scene, rng, r, world, "half")[0]
        there = {thing.object for thing in scene.things}
        for name, noun in nouns.items():
            if times := len(re.findall(rf"\b{noun}\b", text)):
                named = "once" if times == 1 else "again"
                rows.append((name, "forget" in text, named, name not in there))
    found = pd.DataFrame(rows, columns=["concept", "says forget", "named", "present"])
    groups = found.groupby(["says forget", "named"])
    shares = {key: stats.rate(some) for key, some in groups}
    return pd.DataFrame({"absent": shares, "n": groups.size()}).rename_axis(
        groups.size().index.names
    )


# --- attention -----------------------------------------------------------------------------------


def obeyed(table: pd.DataFrame, least: float) -> list[str]:
    """The wordings that suppress the concept by at least `least` against their controls."""
    pairs = stats.add_control(table)
    sums = pairs.assign(present=pairs.present.astype(float)).groupby("wording")[
        ["present", "control_value"]
    ]
    left = sums.sum().pipe(lambda s: s.present / s.control_value.where(s.control_value > 0))
    return sorted(left.index[1 - left >= least])


def fall(changes: pd.DataFrame, wordings: list[str]) -> Estimate:
    """Relative change of attention to the word (of its geometric mean) against the controls.

    -0.5 is half of it gone. The interval speaks about other concepts and other such wordings. NaN
    without wordings. changes: of `heads.by_wording`.
    """
    rows = changes[changes.wording.isin(wordings)].assign(one=1.0)
    if not len(rows):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    levels = [None, sorted(rows.wording.unique()), sorted(rows.concept.unique())]
    sums = stats.crossed_sums(rows, ["attention", "one"], levels)
    found = np.expm1(stats.crossed_interval(sums, stats.ratio))
    return Estimate(*map(float, found), len(rows), *reversed(sums.shape[1:3]))


def exchanged(
    steered: Callable[[pd.DataFrame], pd.DataFrame],
    table: pd.DataFrame,
    heads: pd.DataFrame,
    wordings: list[str],
) -> pd.DataFrame:
    """Words and attention apart: instructions with the attention of their controls, and back.

    Attention to the concept's word is multiplied (Prompt-to-Prompt, see `weigh`) by the
    ratio of the means of a wording and its control: each then has on average what the other has.
    steered: `weighted` of one artist; table: drawn and watched; heads: of `heads.kept`.
    One row a picture: concept, wording (of the instruction, also where its control is drawn), seed,
    words ("instruction" or "control"), attention ("its own" or "the other's"), auc, present.
    """
    table = attention_detail.add_auc(table, heads)
    pairs = stats.add_control(table, "auc")
    parts = []
    for wording, rows in pairs[pairs.wording.isin(wordings)].groupby("wording", sort=False):
        ratio = float(rows.control_value.mean() / rows.auc.mean())
        of = {"instruction": (wording, ratio), "control": (rows.control.iloc[0], 1 / ratio)}
        for words, (name, weight) in of.items():
            own = table[table.wording == name].reset_index(drop=True)
            other = steered(own.assign(weight=weight)).assign(auc=own.auc * weight)
            about = {"words": words, "wording": wording}
            parts.append(own.assign(attention="its own", **about))
            parts.append(other.assign(attention="the other's", **about))
    columns = ["concept", "wording", "seed", "words", "attention", "auc", "present"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def weighted(artist: Artist, table: pd.DataFrame) -> pd.DataFrame:
    """The rows with `present` while attention to the concept's word is multiplied by `weight`, a
    column with one value."""
    with weigh(artist, table, float(table.weight.iloc[0]), renormalize=False):
        return artist.draw_and_judge(table)


def exchange_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`exchanged` in four lines: rate of the concept (`Estimate` over concepts and wordings), mean
    attention to its word."""
    keys = ["words", "attention"]
    found = {key: {"rate": stats.rate(some, over=stats.KIND), "attention": some.auc.mean()}
             for key, some in rows.groupby(keys, sort=False)}  # fmt: skip
    table = pd.DataFrame.from_dict(found, orient="index", columns=["rate", "attention"])
    return table.rename_axis(keys) if len(table) else table


# --- what the encoder says -----------------------------------------------------------------------


def best_accuracy(found: pd.DataFrame) -> Estimate:
    """How often a probe is right on new concepts and new wordings, at the concept's or the end
    token's state, whichever is read better. found: of `text_states.probe`."""
    return max((accuracy(found, place) for place in ("concept", "eos")), key=lambda e: e.value)


# --- which part ----------------------------------------------------------------------------------


def by_part(tables: dict) -> pd.DataFrame:
    """What kinds of instruction do in each of `combinations`, in points against their controls
    (`Estimate` over concepts and wordings).

    tables: key of `combinations` -> rows drawn and judged. Index (encoder, denoiser), columns
    conditions.
    """
    rows = {
        key: {name: stats.paired_difference(some, over=stats.KIND)
              for name, some in stats.add_control(table).groupby("condition", sort=False)}
        for key, table in tables.items()
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["encoder", "denoiser"])


def rates(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How often the concept is drawn, as text: a row a wording, a column a table of judged rows."""
    return pd.DataFrame(
        {name: {w: stats.rate(rows).percent() for w, rows in table.groupby("wording", sort=False)}
         for name, table in tables.items()}
    )  # fmt: skip
