"""Where a clause wins: what a verb does to text states and to attention, beside the picture.

The measures are those of `text_states.similarity` and `attention.watch`, for clauses. A change is
against the neutral verbs in the same place (`clauses.against_neutral`): elsewhere (a place is asked
for) and where the concept is asked for. A stage at which an instruction acts elsewhere, and less
where the concept is asked for, shows that the request wins; the first such stage shows it first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from whitebear import stats
from whitebear.draw.artist import Artist
from whitebear.interventions import none
from whitebear.measures.attention import watch_under
from whitebear.measures.clauses import against_neutral
from whitebear.measures.text_states import FINAL, similarity, vectors
from whitebear.stats import Estimate

KEYS = ["concept", "wording", "seed"]
BY = ("name", "description")  # how the concept is asked for
ELSEWHERE = "place"
READ = {"told": "concept", "asked": "concept", "eos": "eos", "pad": "pad"}  # column -> place
STAGES = {"eos": "end token", "pad": "padding", "attention": "attention", "present": "picture"}
OVER = ("concept", "wording")  # of which intervals speak


@dataclass(frozen=True)
class Change:
    """What an instruction changes at a stage: elsewhere, where the concept is asked for, and the
    second minus the first, at the same concept and frame."""

    elsewhere: Estimate
    asked: Estimate
    gain: Estimate


def mention(table: pd.DataFrame, which: str) -> pd.Series:
    """The spans of the concept in the clause of the verb ("told"), or in the request ("asked").

    table: a grid of clauses with the columns verb, order and subject.
    """
    found = []
    for row in table.itertuples():
        spans = [list(span) for span in row.spans]
        told = [] if row.subject != "concept" else spans[:1] if row.order == "first" else spans[-1:]
        found.append(told if which == "told" else [span for span in spans if span not in told])
    return pd.Series(found, index=table.index, dtype=object)


def states(pipe: DiffusionPipeline, table: pd.DataFrame) -> pd.DataFrame:
    """How like the request for the concept alone the states of each clause are, after the last
    norm: 1 is that request in the same frame, 0 the same request for another concept.

    table: a grid of clauses about the concept and of requests alone, with the columns of `FACTORS`;
    two concepts or more. Columns concept, wording, seed; told, asked (the concept's tokens in the
    verb's clause and in the request, NaN where there are none), eos and pad.
    """
    table = table.reset_index(drop=True)
    alone = table.subject == ""  # there the request's mention is what all others are held against
    views = {which: mention(table, which) for which in ("told", "asked")}
    views["told"] = views["told"].where(~alone, views["asked"])
    read = {
        which: vectors(pipe, table.assign(spans=spans)).sel(layer=[FINAL])
        for which, spans in views.items()
    }
    ids = table[alone].drop_duplicates("wording").set_index(["frame", "request"]).wording
    parts = []
    for frame, by in ids.index[ids.index.isin(BY, level="request")]:
        like = table.request.where(table.request == "description", "name")
        some = np.flatnonzero((table.frame == frame) & (like == by))
        rows = table.iloc[some]
        found = {
            column: _at(rows, read.get(column, read["asked"])[some], ids[frame, by], place)
            for column, place in READ.items()
        }
        parts.append(rows[KEYS].assign(**found)[(rows.verb != "").to_numpy()])
    return pd.concat(parts, ignore_index=True)


def _at(rows: pd.DataFrame, read, anchor: str, place: str) -> np.ndarray:
    found = similarity(rows, read.sel(place=[place]), anchor)
    return found.standardised.to_numpy(np.float32)


def watched(artist: Artist, rows: pd.DataFrame) -> pd.DataFrame:
    """Attention to the concept's noun in each clause, mean over layers: over all steps
    (`attention`), over the first and over the second half of them.

    rows: a grid of clauses whose verb comes first. Columns concept, wording, seed and these three.
    """
    data = watch_under(none, artist, rows, none.neutral)
    mass = data.mass.sel(token="concept", drop=True).mean("layer")
    half = mass.sizes["step"] // 2
    over = {"attention": slice(None), "first_half": slice(half), "second_half": slice(half, None)}
    means = {name: mass.isel(step=steps).mean("step").values for name, steps in over.items()}
    return rows[KEYS].reset_index(drop=True).assign(**means)


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The clauses of which part 4 of the declaration speaks: about the concept, the verb first, a
    place or the concept asked for; requests alone among them."""
    about = rows.subject.isin(["concept", ""]) & rows.order.isin(["first", ""])
    return rows[about & rows.request.isin([*BY, ELSEWHERE])]


def change(rows: pd.DataFrame, verb: str, column: str) -> Change:
    """What a verb changes of a column against the neutral verbs, elsewhere and asked.

    rows: clauses with the column: presence and similarity in their own units, attention as part of
    its mean under the neutral verbs (elsewhere, and where the concept is asked for).
    """
    rows = judged(rows)
    told = against_neutral(rows[rows[column].notna()], column)
    told = told[told.verb == verb]
    if column not in ("present", *READ):
        whole = told.groupby(told.request == ELSEWHERE).control_value.transform("mean")
        told = told.assign(difference=told.difference / whole)
    there, here = told[told.request == ELSEWHERE], told[told.request.isin(BY)]
    keys = ["concept", "seed", "frame"]
    base = there.set_index(keys).difference.rename("elsewhere")
    pairs = here.join(base, on=keys)
    pairs = pairs.assign(difference=pairs.difference - pairs.elsewhere)
    return Change(*(stats.paired_difference(some, over=OVER) for some in (there, here, pairs)))
