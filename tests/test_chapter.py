"""The chapter on a stranger: a random-weights pipeline from disk, judged by CLIP, via papermill."""

import dataclasses
import json

import nbformat
import pandas as pd
import pytest

from whitebear.book.build.execute import execute
from whitebear.draw.artist import Artist
from whitebear.draw.grid import Run
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.models.load import REGISTRY

CHAPTER = ROOT / "notebooks" / "03_told_to_forget.ipynb"


@pytest.fixture(scope="module")
def executed(tiny_pipeline_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapter")
    parameters = {
        "model": str(tiny_pipeline_dir), "concepts": ["bear", "garbage truck"], "seeds": 1,
        "steps": 1, "output": str(folder / "results"),
    }  # fmt: skip
    execute(CHAPTER, folder / "chapter.ipynb", parameters)
    return folder


def test_it_runs_on_any_pipeline_folder(executed):
    notebook = nbformat.read(executed / "chapter.ipynb", as_version=4)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(figures) == 4
    assert "with 6 Axes" in figures[0].data["text/plain"]  # the gallery found all its wordings
    text = "".join(out.get("data", {}).get("text/markdown", "") for out in outputs)
    assert "Nothing can be said about obedience here" in text
    assert not [out for out in outputs if out.output_type == "error"]


def test_it_leaves_scores_and_numbers(executed):
    scores = pd.read_parquet(executed / "results" / "03_told_to_forget.parquet")
    assert set(scores.concept) == {"bear", "garbage truck"}
    assert {"affirm", "omit", "negate", "forget_then_request", "repeat"} == set(scores.condition)
    assert {"prompt", "wording", "control", "seed", "p_asked", "present", "clip_score"} <= set(
        scores
    )
    assert "png" not in scores
    numbers = json.loads((executed / "results" / "03_told_to_forget.json").read_text())
    assert numbers["images"] == len(scores)
    assert numbers["answer"].startswith("Nothing can be said")


@pytest.mark.parametrize(
    ("parameters", "line"),
    [({"seed": 3}, "no parameter 'seed'"), ({"seeds": "3"}, "expected int")],
)
def test_wrong_parameters_never_start_a_kernel(tmp_path, parameters, line):
    with pytest.raises(UserError, match=line):
        execute(CHAPTER, tmp_path / "chapter.ipynb", parameters)
    assert not list(tmp_path.iterdir())


def test_a_bad_value_is_one_clear_line(tmp_path, tiny_pipeline_dir):
    """Of the right type but impossible: the notebook stops before it makes a picture."""
    parameters = {"model": str(tiny_pipeline_dir), "steps": -1, "output": str(tmp_path / "out")}
    with pytest.raises(UserError, match="steps is -1; give a whole number of at least 1"):
        execute(CHAPTER, tmp_path / "chapter.ipynb", parameters)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "chapter.ipynb").exists()


def test_its_defaults_are_those_of_the_model(monkeypatch):
    """What the tests of the book run is what the model's registry entry recommends."""
    values = {}
    cells = nbformat.read(CHAPTER, as_version=4).cells
    source = next(c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    exec(source, values)
    entry = REGISTRY[values["model"]]
    artist = Artist(values["model"], values["steps"], values["guidance"])
    assert (artist.steps, artist.guidance) == (entry.steps, entry.guidance)
    needed = {f.name for f in dataclasses.fields(Run) if f.default is dataclasses.MISSING}
    assert needed <= set(values)
