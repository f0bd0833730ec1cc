"""The tables that travel between rooms: what is published keeps to what the code says of them."""

import pandas as pd
import pytest

from whitebear.files import RESULTS
from whitebear.prompts import load_concepts
from whitebear.prompts.concepts import known_concepts
from whitebear.prompts.wordings import fill

PICTURES = [path for path in sorted(RESULTS.rglob("*.parquet")) if "bench" not in path.name]
NAMES = [path.relative_to(RESULTS).as_posix() for path in PICTURES]


@pytest.mark.parametrize("path", PICTURES, ids=NAMES)
def test_the_text_of_a_published_row_says_its_prompt(path):
    world = load_concepts()
    known = known_concepts(world, free=True)
    nouns = {"": ""} | {concept.name: concept.noun for concept in world.concepts}
    columns = ["concept", "wording", "text", "prompt", "other", "background"]
    rows = pd.read_parquet(path, columns=columns)
    assert (rows.groupby("wording").text.nunique() == 1).all()
    for row in rows.drop_duplicates("prompt").itertuples():
        _, noun, description = known[row.concept]
        holes = {"c": noun, "o": nouns[row.other], "b": nouns[row.background], "d": description}
        assert fill(row.text, **holes)[0] == row.prompt
