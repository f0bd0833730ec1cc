"""What is cached is what was measured, is not measured twice, and goes with its causes."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import artist_of, tiny_pipeline
from whitebear.draw import cache
from whitebear.draw.artist import Artist
from whitebear.draw.cache import Cache
from whitebear.errors import UserError
from whitebear.measures import attention, heads as attention_detail
from whitebear.prompts import prompt_grid
from whitebear.scoring.judge import Judge

ASKED, STOP = [], set()  # concepts that were measured; those that somebody interrupts


@pytest.fixture(scope="module")
def table():
    grid = prompt_grid(["bear", "owl"], ["forget_only"], 1)
    return grid[~grid.pair].reset_index(drop=True)


@pytest.fixture(autouse=True)
def nothing_asked():
    ASKED.clear()
    STOP.clear()


def count(artist, rows):
    """A measurement that says how often it was asked, and for which concepts."""
    ASKED.append(rows.concept.iloc[0])
    if ASKED[-1] in STOP:
        raise KeyboardInterrupt
    n = rows.index.to_numpy()
    return rows.assign(n=n), n[:, None], xr.Dataset({"n": ("sample", n)})


def twice(artist, rows):
    ASKED.append(rows.concept.iloc[0])
    return pd.concat([rows, rows])


def counted(folder, table, measure=count, steps=2, guidance=4.0):
    return Cache(folder).by_concept(measure, Artist("pocket", steps, guidance), table)


def test_the_attention_of_all_concepts_is_that_of_one_run(tmp_path, table):
    artist = artist_of(tiny_pipeline(positions=256), 2)
    images, data = attention.watch(artist, table)
    same, read = Cache(tmp_path).by_concept(attention.watch, artist, table)
    assert np.abs(same.astype(int) - images).max() <= 1
    for name in ("prompt", "concept", "wording", "seed"):
        assert list(read[name].values) == list(data[name].values) == list(table[name])
    for name in ("mass", "map"):
        assert read[name].dims == data[name].dims
        np.testing.assert_allclose(read[name], data[name], atol=1e-5)
    judged, heads = Cache(tmp_path).by_concept(attention_detail.watch_heads, artist, table)
    assert list(judged.wording) == list(table.wording) and "present" in judged
    by_head = attention_detail.kept(heads)["heads"]
    assert len(attention_detail.by_wording(judged, by_head)) > 0


def test_results_come_in_the_order_of_the_rows(tmp_path, table):
    mixed = table.iloc[np.arange(len(table)).reshape(2, -1).T.ravel()].reset_index(drop=True)
    assert list(mixed.concept[:4]) == ["bear", "owl", "bear", "owl"]
    for _ in range(2):  # measured, then read
        rows, numbers, data = counted(tmp_path, mixed)
        assert list(rows.n) == list(numbers[:, 0]) == list(data.n.values) == list(mixed.index)
        assert list(rows.prompt) == list(mixed.prompt)
    double = counted(tmp_path, mixed, twice)  # no row for each row
    assert double.concept.is_monotonic_increasing and len(double) == 2 * len(mixed)


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path, table, capsys):
    STOP.add("owl")
    with pytest.raises(KeyboardInterrupt):
        counted(tmp_path, table)
    said = capsys.readouterr().out
    assert said.startswith("Interrupted. 1 of 2 concepts are kept: run this again to go on")
    assert said.endswith("concepts = ['bear'].\n")
    STOP.clear()
    rows, numbers, data = counted(tmp_path, table)
    assert ASKED == ["bear", "owl", "owl"]
    pd.testing.assert_frame_equal(rows.drop(columns=["n", "spans"]), table.drop(columns="spans"))
    assert [list(map(list, spans)) for spans in rows.spans] == list(table.spans)
    assert list(rows.n) == list(numbers[:, 0]) == list(data.n.values)
    counted(tmp_path, table)
    assert ASKED == ["bear", "owl", "owl"]


def test_half_written_results_are_none(tmp_path, table, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(cache.np, "savez_compressed", full)
        with pytest.raises(UserError, match="no space left.*; make room"):
            counted(tmp_path, table)
    ASKED.clear()
    counted(tmp_path, table)
    assert ASKED == ["bear", "owl"]


@pytest.mark.parametrize("changed", ["steps", "guidance", "prompt", "measure", "code", "judge"])
def test_whatever_decides_a_result_decides_where_it_is(tmp_path, table, changed, monkeypatch):
    counted(tmp_path, table)
    ASKED.clear()
    if changed == "code":
        monkeypatch.setattr(cache, "code_digest", lambda _: "another")
    if changed == "judge":
        monkeypatch.setattr(Judge, "state", lambda self: "another")
    other = table.assign(prompt=table.prompt + "!") if changed == "prompt" else table
    sampling = 3 if changed == "steps" else 2, 5.0 if changed == "guidance" else 4.0
    counted(tmp_path, other, twice if changed == "measure" else count, *sampling)
    assert ASKED == ["bear", "owl"]


def test_a_function_of_a_notebook_is_refused(tmp_path, table):
    with pytest.raises(UserError, match="<lambda> is not a function of a module"):
        counted(tmp_path, table, lambda artist, rows: rows)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output folder .* cannot be written"):
        Cache(tmp_path / "file")


def test_a_grid_without_rows_is_refused(tmp_path, table):
    with pytest.raises(UserError, match="count: the grid has no such rows"):
        counted(tmp_path, table[:0])
