"""Where a clause wins in the shipped model and in members of the population: text states and
attention of the clauses that part 4 of data/why/declared.md names.

    python -m whitebear winning            # the shipped model and all members in _build/population
    python -m whitebear winning quiet-1    # some of them

Interrupt it whenever you like; the same command goes on with the first concept that is not done.
Results go to `data/results/winning`, a table (`tables.WINNING`) and a record each.
"""

import argparse
from pathlib import Path

import pandas as pd

from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.errors import UserError, exit_on_user_error
from whitebear.files import ROOT, write_parquet
from whitebear.measures.winning import KEYS, judged, states, watched
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments import population
from whitebear.pocket.experiments.inside import SHIPPED
from whitebear.pocket.experiments.members import INSIDE, MEMBERS, Member
from whitebear.pocket.experiments.publishing import is_done, keep_record, made_by
from whitebear.pocket.experiments.teach import GUIDANCE, load_cells
from whitebear.prompts import load_clauses, prompt_grid
from whitebear.prompts.clauses import FACTORS

OUT = ROOT / "_build" / "winning"
STEPS = 6  # of the sampler, while attention is watched


def grid(concepts=()) -> pd.DataFrame:
    """The clauses about the concept and the requests alone, of all objects or of `concepts`, a
    noise each, with the columns `FACTORS`."""
    clauses = load_clauses().query("subject != 'other'")
    table = prompt_grid(list(concepts), list(clauses.condition.unique()), 1, wordings=clauses)
    return table.join(clauses.set_index("id")[FACTORS], on="wording")


def measure(artist: Artist, table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Table `WINNING` of the clauses of a grid; attention of those that are judged only."""
    first = judged(table).query("verb != ''").reset_index(drop=True)
    seen = Cache(folder).by_concept(watched, artist, first)
    return states(artist.pipe, table).merge(seen, how="left", on=KEYS)


def folders() -> dict[str, str]:
    """The models whose weights are here: name -> what `Artist` is to be given."""
    members = {name: population.OUT / name / "pocket" for name in load_cells(MEMBERS, Member)}
    here = {name: str(folder) for name, folder in members.items() if folder.is_dir()}
    return {SHIPPED: "pocket"} | here


def publish(name: str, model: str) -> Path:
    """Measure a model, unless that was done; returns the record of where its table comes from."""
    artist, record = Artist(model, STEPS, GUIDANCE), INSIDE / f"{name}.json"
    origin = {"model": fingerprint(artist.folder), "steps": STEPS, "guidance": GUIDANCE}
    if is_done(record, origin):
        return record
    table = measure(artist, grid(), OUT)
    write_parquet(table, INSIDE / f"{name}.parquet")
    return keep_record(record, origin | made_by(artist.device))


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear winning [MODEL ...]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help="shipped, or a member (default: all that are here)"
    )
    names, here = parser.parse_args(arguments).names, folders()
    if unknown := [name for name in names if name not in here]:
        raise UserError(
            f"the weights of {unknown[0]} are not in {population.OUT.name}; there are"
            f" {', '.join(here)}; first: python -m whitebear population {unknown[0]}"
        )
    for name in names or here:
        print(publish(name, here[name]), flush=True)
