"""What is kept of a measurement is what it was, is not measured twice, and goes with its causes."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import artist_of, tiny_pipeline
from whitebear.draw import cache as kept
from whitebear.draw.artist import Artist
from whitebear.draw.cache import Kept
from whitebear.errors import UserError
from whitebear.measures import attention, heads as attention_detail
from whitebear.prompts import prompt_grid
from whitebear.scoring.judge import Judge


@pytest.fixture(scope="module")
def table():
    grid = prompt_grid(["bear", "owl"], ["forget_only"], 1)
    return grid[~grid.pair].reset_index(drop=True)


class Counting:
    """A measurement that says how often it was asked, and for which concepts."""

    def __init__(self, stop: str = ""):
        self.asked, self.stop = [], stop

    def __call__(self, rows):
        self.asked.append(rows.concept.iloc[0])
        if self.asked[-1] == self.stop:
            raise KeyboardInterrupt
        n = np.arange(len(rows))
        return rows.assign(n=n), n[:, None], xr.Dataset({"n": ("sample", n)})


def test_the_attention_of_all_concepts_is_that_of_one_run(tmp_path, table):
    artist = artist_of(tiny_pipeline(positions=256), 2)
    images, data = attention.watch(artist, table)
    mine = Kept(tmp_path, artist)
    measure = lambda rows: attention.watch(artist, rows)  # noqa: E731
    same, read = mine.by_concept("watch", table, measure)
    assert np.abs(same.astype(int) - images).max() <= 1
    assert list(read.prompt.values) == list(table.prompt)
    for name in ("mass", "map"):
        assert read[name].dims == data[name].dims
        np.testing.assert_allclose(read[name], data[name], atol=1e-5)
    judged, heads = mine.by_concept(
        "heads", table,
        lambda rows: attention_detail.watch_heads(artist, rows),
    )  # fmt: skip
    assert list(judged.wording) == list(table.wording) and "present" in judged
    assert len(attention_detail.by_wording(judged, heads)) > 0


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path, table):
    first, second, third = Counting(stop="owl"), Counting(), Counting()
    with pytest.raises(KeyboardInterrupt):
        Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table, first)
    rows, numbers, data = Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept(
        "count", table, second
    )
    assert (first.asked, second.asked) == (["bear", "owl"], ["owl"])
    pd.testing.assert_frame_equal(rows.drop(columns=["n", "spans"]), table.drop(columns="spans"))
    assert [list(map(list, spans)) for spans in rows.spans] == list(table.spans)
    assert list(rows.n) == list(numbers[:, 0]) == list(data.n.values)
    Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table, third)
    assert third.asked == []


def test_half_written_results_are_none(tmp_path, table, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(kept.np, "savez_compressed", full)
        with pytest.raises(OSError, match="no space left"):
            Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table, Counting())
    again = Counting()
    Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table, again)
    assert again.asked == ["bear", "owl"]


@pytest.mark.parametrize("changed", ["steps", "guidance", "prompt", "name", "code", "judge"])
def test_whatever_decides_a_result_decides_where_it_is_kept(tmp_path, table, changed, monkeypatch):
    Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table, Counting())
    if changed == "code":
        monkeypatch.setattr(kept, "LIBRARY", tmp_path)
        (tmp_path / "new.py").write_text("1")
    if changed == "judge":
        monkeypatch.setattr(Judge, "state", lambda self: "another")
    other = table.assign(prompt=table.prompt + "!") if changed == "prompt" else table
    sampling = 3 if changed == "steps" else 2, 5.0 if changed == "guidance" else 4.0
    again = Counting()
    name = "other" if changed == "name" else "count"
    Kept(tmp_path, Artist("pocket", *sampling)).by_concept(name, other, again)
    assert again.asked == ["bear", "owl"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output folder .* cannot be written"):
        Kept(tmp_path / "file", Artist("pocket", 2, 4.0))


def test_a_grid_without_rows_is_refused(tmp_path, table):
    with pytest.raises(UserError, match="count: the grid has no such rows"):
        Kept(tmp_path, Artist("pocket", 2, 4.0)).by_concept("count", table[:0], Counting())
