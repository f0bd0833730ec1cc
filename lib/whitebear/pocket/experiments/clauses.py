"""Score a model on every wording about objects and on all clauses, and publish what the shipped and
the taught model make of the clauses.

    python -m whitebear clauses                # both, into data/results/clauses
    python -m whitebear clauses --seeds 2      # pictures of each wording and object

Interrupt it whenever you like; the same command goes on with the first concept that is not done.
"""

import argparse
from pathlib import Path

import pandas as pd

from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.errors import exit_on_user_error
from whitebear.files import MODELS, RESULTS, ROOT, write_parquet
from whitebear.measures.clauses import judged
from whitebear.models.load import fingerprint
from whitebear.pocket.experiments.inside import SHIPPED, TAUGHT, combinations
from whitebear.pocket.experiments.publishing import keep_record, made_by
from whitebear.pocket.experiments.teach import GUIDANCE, STEPS, scored_images
from whitebear.prompts import load_wordings, prompt_grid
from whitebear.prompts.clauses import FACTORS, load_clauses

FOLDER, OUT = RESULTS / "clauses", ROOT / "_build" / "clauses"
SEEDS, CLAUSE_SEEDS = 1, 1  # pictures of an object in a wording of eval.csv, and in a clause
CLAUSE_STEPS = 12  # in little more than half the time of twenty; one picture in 25 differs


def object_conditions() -> list[str]:
    """Every condition of eval.csv that has wordings about objects."""
    table = load_wordings()
    return list(dict.fromkeys(table.condition[table.kind.str.split().map(lambda k: "object" in k)]))


def clause_scores(
    artist: Artist, seeds: int, folder: Path, concepts=(), clauses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What an artist draws of all objects, or of `concepts`, in all clauses: table `clauses`.

    clauses: others than those of clauses.csv. Concepts that are done are kept in `folder`.
    """
    clauses = load_clauses() if clauses is None else clauses
    conditions = list(dict.fromkeys(clauses.condition))
    grid = prompt_grid(list(concepts), conditions, seeds, wordings=clauses)
    found = Cache(folder).by_concept(judged, artist, grid)
    return found.join(clauses.set_index("id")[FACTORS], on="wording")


def score_member(
    folder: Path, seeds: int = SEEDS, clause_seeds: int = CLAUSE_SEEDS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables `scores` (every wording about objects) and `clauses` of the model in folder/pocket.

    What is done is kept in folder/scores, so a call that was stopped goes on.
    """
    scores = scored_images(folder, object_conditions(), seeds, STEPS)
    artist = Artist(str(folder / "pocket"), CLAUSE_STEPS, GUIDANCE)
    return scores, clause_scores(artist, clause_seeds, folder / "scores")


def publish(name: str, artist: Artist, seeds: int) -> Path:
    """Keep an artist's clauses, and where they come from, under its name; returns the record."""
    table = clause_scores(artist, seeds, OUT)
    write_parquet(table, FOLDER / f"{name}.parquet")
    record = {
        "model": fingerprint(artist.folder), "parts": artist.parts, "seeds": seeds,
        "steps": artist.steps, "guidance": artist.guidance, "detector": artist.judge.state(),
    }  # fmt: skip
    return keep_record(FOLDER / f"{name}.json", record | made_by(artist.device))


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear clauses [--seeds N]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=CLAUSE_SEEDS)
    seeds = parser.parse_args(arguments).seeds
    shipped = Artist("pocket", CLAUSE_STEPS, GUIDANCE)
    made = combinations(MODELS / "taught", shipped)
    for name in (SHIPPED, TAUGHT):
        print(publish(name, made[name, name], seeds), flush=True)
