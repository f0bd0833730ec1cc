"""The tables that travel between rooms: what is published keeps to what the code says of them."""

import ast
import json
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from whitebear.errors import UserError
from whitebear.files import RESULTS, ROOT
from whitebear.prompts import load_concepts, load_wordings, prompt_grid
from whitebear.prompts.concepts import known_concepts
from whitebear.prompts.wordings import fill
from whitebear.tables import (
    ARENA,
    ATTENTION,
    CELLS,
    CLAIMS,
    CLAUSES,
    DOSE,
    GRID,
    MEASURED,
    SCORES,
    TABLES,
    WINNING,
    check,
    page,
)

OTHERS = ("bench", "dose")  # tables of no pictures
PUBLISHED = [
    path for path in sorted(RESULTS.rglob("*.parquet")) if not path.name.startswith(OTHERS)
]
MORE_KEYS = ("source", "part", "encoder", "denoiser", "model", "what")  # images of several ways
LARGEST = 2.5 * 2**20  # bytes: what chapters measure beside scores, all tables together


def measured(path):
    """The contract of `<chapter>_<name>.parquet`; None for a chapter's pictures."""
    if path.parent.name == "winning":
        return WINNING
    chapter = next((nb for nb in CHAPTERS if path.stem.startswith(f"{nb}_")), None)
    return MEASURED[path.stem.removeprefix(f"{chapter}_")] if chapter else None


CHAPTERS = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
PICTURES = [path for path in PUBLISHED if measured(path) in (None, GRID)]


def name(path) -> str:
    return path.relative_to(RESULTS).as_posix()


@pytest.mark.parametrize("path", PUBLISHED, ids=name)
def test_published_tables_keep_their_contract(path):
    table, contract = pd.read_parquet(path), measured(path)
    if "erased" in table:
        contract = ARENA
    elif contract in (None, GRID):
        contract = SCORES if "clip_score" in table else CLAUSES if "verb" in table else GRID
        more = tuple(name for name in MORE_KEYS if name in table)
        contract = replace(contract, keys=contract.keys + more)
    check(table, contract)


def test_what_is_measured_beside_scores_stays_small():
    assert sum(path.stat().st_size for path in PUBLISHED if measured(path)) < LARGEST
    assert measured(RESULTS / "09_why_it_fails_probe.parquet") is MEASURED["probe"]
    assert measured(RESULTS / "09_why_it_fails.parquet") is None


def test_published_records_keep_their_contract():
    records = sorted((RESULTS / "why").rglob("*.json"))
    read = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    check(pd.DataFrame(read), CELLS)
    for chapter in json.loads((RESULTS / "published.json").read_text(encoding="utf-8")).values():
        check(pd.DataFrame(chapter["claims"]), CLAIMS)


def test_the_published_dose_keeps_its_contract():
    table = check(pd.read_parquet(RESULTS / "why" / "dose.parquet"), DOSE)
    shares = table[[name for name in table if name.startswith(("p_", "absence"))]]
    assert ((shares >= 0) & (shares <= 1) | shares.isna()).all(axis=None)


@pytest.mark.parametrize("path", PICTURES, ids=name)
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


def test_a_grid_has_the_columns_of_its_contract_in_their_order():
    table = prompt_grid(["bear"], ["negate"], 2)
    assert list(check(table, GRID).columns) == list(GRID.columns)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table.drop(columns="text"), "prompt grid: column text is missing; it says"),
        (lambda table: table.assign(pair="no"), "column pair is .*; it holds yes/no"),
        (lambda table: table.assign(seed=0), "bear, .*, 0 is there twice; concept, wording, seed"),
    ],
)
def test_what_breaks_a_contract_is_named(spoil, said):
    with pytest.raises(UserError, match=said):
        check(spoil(prompt_grid(["bear"], ["negate"], 2)), GRID)


def test_a_dataset_is_held_to_its_contract_too():
    with pytest.raises(UserError, match="attention: column mass is missing"):
        check(xr.Dataset({"entropy": ("step", np.zeros(3))}), ATTENTION)


def test_the_page_names_every_column():
    text = page()
    assert all(f"| `{name}` |" in text for table in TABLES for name in table.columns)
    assert "{{ tables }}" in (ROOT / "book" / "tables.md").read_text(encoding="utf-8")


def strings_of_code():
    """(place, text) of every string in the library and in the code of the notebooks."""
    for path in sorted((ROOT / "lib").rglob("*.py")):
        yield from strings(path.name, path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield from strings(f"{path.name}, cell {cell.id}", cell.source)


def strings(place: str, code: str):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield f"{place}, line {node.lineno}", node.value


def test_every_wording_that_code_names_is_in_eval_csv():
    ids = set(load_wordings().id)
    families = {name.split("-")[0] + "-" for name in ids}
    named = [
        (place, text)
        for place, text in strings_of_code()
        if text.startswith(tuple(families)) and text.replace("-", "").isalpha() and text.islower()
    ]
    assert len(named) > 20  # or this test looks at nothing
    assert not [f"{place}: {text!r}" for place, text in named if text not in ids]
