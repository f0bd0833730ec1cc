"""A chunk is reused exactly while everything that decided it is the same."""

import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from whitebear.draw import artist as artist_module, grid as run_module
from whitebear.draw.grid import ChunkSpec, Run, run_chunk, run_grid, so_far
from whitebear.errors import UserError
from whitebear.files import alone, check_writable, write_parquet
from whitebear.prompts import load_wordings
from whitebear.tables import SCORES, check


@pytest.fixture
def spec(tiny_pipeline_dir, tmp_path):
    model, output = str(tiny_pipeline_dir), str(tmp_path / "out")
    return ChunkSpec(model, "bear", ("negate",), (0, 1), 2, 4.0, output, keep_images=1)


@pytest.fixture
def settings(tiny_pipeline_dir, tmp_path):
    return {
        "model": str(tiny_pipeline_dir), "concepts": ["bear", "garbage truck"],
        "conditions": ["affirm", "forget_then_request"], "seeds": 1, "steps": 1, "guidance": 4.0,
        "output": str(tmp_path / "out"),
    }  # fmt: skip


def test_a_chunk_holds_tidy_scores(spec):
    table = check(pd.read_parquet(run_chunk(spec, progress=False)), SCORES)
    assert set(table.condition) == {"affirm", "negate"}
    assert table.groupby("wording").seed.apply(list).map(lambda s: s == [0, 1]).all()
    assert table.p_asked.between(0, 1).all()
    assert table.present.equals(table.p_asked >= 0.5)
    assert (table.p_other.notna() == table.pair).all()
    assert (table.other_present.notna() == table.pair).all()
    assert table.clip_score.between(-1, 1).all()
    assert (table.png.notna() == (table.seed == 0)).all()
    image = np.asarray(Image.open(io.BytesIO(table.png.dropna().iloc[0])))
    assert image.shape == (64, 64, 3)
    for row in table.itertuples():
        assert all(row.prompt[start:end] == "bear" for start, end in row.spans)


def test_a_chunk_is_reused_and_remade(spec, tiny_pipeline_dir, tmp_path):
    path = run_chunk(spec, progress=False)
    first = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    assert run_chunk(spec, progress=False) == path
    assert path.stat().st_mtime_ns == stamp
    for change in ({"steps": 1}, {"guidance": 2.0}, {"seeds": (0,)}, {"conditions": ("affirm",)}):
        assert run_chunk(dataclasses.replace(spec, **change), progress=False) != path
    path.write_bytes(first[: len(first) // 2])
    assert run_chunk(spec, progress=False) == path
    pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(io.BytesIO(first)))


def test_changed_weights_are_noticed(spec, tmp_path):
    copy = shutil.copytree(spec.model, tmp_path / "copy")
    spec = dataclasses.replace(spec, model=str(copy))
    path = run_chunk(spec, progress=False)
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.03"))
    assert run_chunk(spec, progress=False) != path


def test_a_failing_chunk_leaves_nothing(spec, monkeypatch):
    """Stopped in the middle of writing: no file under the final name, none beside it."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        run_chunk(spec, progress=False)
    assert not [path for path in Path(spec.output).rglob("*") if path.is_file()]


@pytest.fixture
def made(monkeypatch):
    """The prompts that pictures were made of, in batches of four."""
    prompts, real = [], artist_module.generate_batches

    def counted(pipe, table, steps, guidance, batch_size, progress, *told):
        for part, images in real(pipe, table, steps, guidance, 4, progress, *told):
            yield part, images
            prompts.extend(part.prompt)

    monkeypatch.setattr(artist_module, "generate_batches", counted)
    return prompts


def stopped_after(files, monkeypatch, work):
    """Do what a user interrupts when so many files are written; returns what was written."""
    write, done = run_module.write_parquet, []

    def stopped(table, path):
        if len(done) == files:
            raise KeyboardInterrupt
        done.append(write(table, path))

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_parquet", stopped)
        with pytest.raises(KeyboardInterrupt):
            work()
    return done


def test_a_killed_chunk_goes_on_without_making_a_picture_twice(spec, made, monkeypatch, tmp_path):
    whole = dataclasses.replace(spec, output=str(tmp_path / "whole"))
    wanted, total = pd.read_parquet(run_chunk(whole, progress=False)), len(made)
    made.clear()
    done = stopped_after(2, monkeypatch, lambda: run_chunk(spec, progress=False))
    assert len(done) == 2 and total > 8
    made.clear()
    found = pd.read_parquet(run_chunk(spec, progress=False))
    assert len(made) == total - 8
    assert len(list(Path(spec.output, "rows").glob("*/*"))) == 1
    numbers = ["p_asked", "clip_score"]
    assert np.allclose(found[numbers], wanted[numbers], atol=1e-4)
    assert found.drop(columns=[*numbers, "p_other", "png"]).equals(
        wanted.drop(columns=[*numbers, "p_other", "png"])
    )


def test_what_an_interrupted_run_has_drawn_can_be_looked_at(settings, made, monkeypatch, capsys):
    run = Run(**settings)
    with pytest.raises(UserError, match="no picture of this run is in .* yet"):
        so_far(run)

    stopped_after(3, monkeypatch, lambda: run_grid(run, progress=False))
    assert "What is drawn is kept" in capsys.readouterr().out
    found = check(so_far(run), SCORES)
    assert len(found) == 12 and set(found.concept) == {"bear"}
    made.clear()
    whole = run_grid(run, progress=False)
    assert len(made) < len(whole)  # it went on
    both = found.merge(whole, on=["concept", "wording", "seed"])
    assert len(both) == 12 and np.allclose(both.p_asked_x, both.p_asked_y, atol=1e-4)
    assert len(so_far(run)) == len(whole)


def test_one_bar_counts_all_pictures(settings, monkeypatch):
    bars, real = [], run_module.tqdm

    def kept(*given, **options):
        bars.append(real(*given, **options))
        return bars[-1]

    monkeypatch.setattr(run_module, "tqdm", kept)
    whole = run_grid(Run(**settings))
    (bar,) = bars
    assert bar.n == bar.total == len(whole) and bar.initial == 0
    more = run_grid(Run(**settings | {"concepts": ["bear", "garbage truck", "owl"]}))
    assert bars[1].n == bars[1].total == len(more)
    assert bars[1].initial == len(whole)  # grown, nothing made again


def test_steps_and_guidance_are_the_authors_where_none_are_given(settings):
    run = Run(**settings | {"steps": None, "guidance": None})
    (spec, *_) = run.chunks()
    assert (spec.steps, spec.guidance) == (50, 7.5)


def test_only_what_is_new_is_made(spec, made, monkeypatch):
    """A changed wording makes its rows anew, another name for a wording none, a seed its own."""
    run_chunk(spec, progress=False)
    made.clear()
    wordings = load_wordings()
    changed = wordings.id == "negate-no"
    reworded = wordings.assign(
        text=wordings.text.where(~changed, "a picture of {b}, and no {c}"),
        id=wordings.id.replace("negate-without", "negate-w"),
    )
    monkeypatch.setattr("whitebear.prompts.grid.load_wordings", lambda: reworded)
    table = pd.read_parquet(run_chunk(spec, progress=False))
    assert "negate-w" in set(table.wording)
    assert len(made) == 2 and all(", and no bear" in prompt for prompt in made)
    made.clear()
    run_chunk(dataclasses.replace(spec, seeds=(0, 1, 5)), progress=False)
    assert len(made) == table.wording.nunique()


def test_rows_say_what_made_them(spec):
    table = pd.read_parquet(run_chunk(spec, progress=False))
    assert table.model.eq(spec.model).all() and table.revision.str.fullmatch("[0-9a-f]{16}").all()
    assert table.versions.str.contains("torch .*, diffusers .*, transformers ").all()


def test_a_grid_joins_its_chunks(settings):
    table = run_grid(Run(**settings), progress=False)
    assert list(dict.fromkeys(table.concept)) == ["bear", "garbage truck"]
    assert set(table.condition) == {"affirm", "forget_then_request", "repeat"}
    assert not table.duplicated(["concept", "wording", "seed"]).any()
    assert len(list(Path(settings["output"], "chunks").iterdir())) == 2


def test_noise_is_shared_across_wordings_and_runs(settings):
    one = run_grid(Run(**settings | {"conditions": ["affirm"]}), progress=False)
    two = run_grid(Run(**settings), progress=False)
    both = one.merge(two, on=["concept", "wording", "seed"])
    assert len(both) == len(one)
    assert np.allclose(both.p_asked_x, both.p_asked_y, atol=0.02)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": "pokcet"}, "did you mean pocket"),
        ({"model": "nowhere/at/all"}, "there is no model folder"),
        ({"concepts": ["<script>"]}, "cannot be used"),
        ({"concepts": ["a\nb"]}, "cannot be used"),
        ({"conditions": ["forget"]}, "unknown condition 'forget'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": -4}, "seeds is -4"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"guidance": -1.0}, "guidance is -1.0"),
        ({"output": ""}, "output is ''"),
        ({"intervention": "wiegh"}, "unknown intervention 'wiegh'; did you mean weigh"),
        ({"intervention": "weigh", "strength": -3.0}, "strength is -3.0; weigh takes a number of"),
        ({"strength": 0.5}, "strength is 0.5; none takes 0 alone"),
    ],
)
def test_bad_parameters_are_refused_before_any_work(settings, change, line):
    with pytest.raises(UserError, match=line):
        Run(**settings | change)
    assert not Path(settings["output"]).exists()


def test_pocket_refuses_words_outside_its_world(settings):
    with pytest.raises(UserError, match="unknown concept 'garbage truck'"):
        Run(**settings | {"model": "pocket"})


def test_unwritable_output(tmp_path, settings):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(UserError, match="cannot be written .* give one that can"):
            Run(**settings | {"output": str(folder)})
    with pytest.raises(UserError, match="give the path of a folder"):
        check_writable(None)


def test_parquet_is_replaced_as_a_whole(tmp_path):
    path = write_parquet(pd.DataFrame({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(Exception, match="Conversion failed|Could not convert"):
        write_parquet(pd.DataFrame({"a": [1, object()]}), path)
    assert pd.read_parquet(path).a.tolist() == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_rows_merged_by_another_process_are_found_where_they_went(tmp_path, monkeypatch):
    """While we read two files, another process merges them into one and removes them."""
    for key in "ab":
        write_parquet(pd.DataFrame({"key": [key], "n": [1]}), tmp_path / f"{key}.parquet")
    read = pd.read_parquet

    def merged_meanwhile(path, **options):
        monkeypatch.setattr(pd, "read_parquet", read)
        write_parquet(pd.DataFrame({"key": ["a", "b"], "n": [1, 1]}), tmp_path / "all-1.parquet")
        for name in ("a", "b"):
            (tmp_path / f"{name}.parquet").unlink()
        return read(path, **options)

    monkeypatch.setattr(pd, "read_parquet", merged_meanwhile)
    assert sorted(run_module._kept_rows(tmp_path).index) == ["a", "b"]


DRAW = """
import sys
from whitebear.draw.grid import ChunkSpec, run_chunk
model, output = sys.argv[1:]
run_chunk(ChunkSpec(model, "bear", ("negate",), (0, 1), 2, 4.0, output, keep_images=1), False)
"""


def test_rows_that_another_process_is_drawing_are_waited_for(spec, made):
    run_chunk(spec, progress=False)
    assert made
    made.clear()
    spec = dataclasses.replace(spec, output=f"{spec.output}-shared")
    other = subprocess.Popen([sys.executable, "-c", DRAW, spec.model, spec.output])
    while not list(Path(spec.output).glob("rows/*")) and other.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)  # it loads the model now
    run_chunk(spec, progress=False)
    assert not made and other.wait() == 0


HOLD = """
import sys, time
from pathlib import Path
from whitebear.files import alone
with alone(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_lets_the_next_one_in(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"in\n"
    killing = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -{signal.SIGKILL:d} {other.pid}"])
    start = time.monotonic()
    with alone(tmp_path):
        assert time.monotonic() - start > 0.4
    assert killing.wait() == 0 and other.wait() == -signal.SIGKILL


def test_where_there_are_no_locks_nobody_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("whitebear.files.fcntl", None)
    with alone(tmp_path), alone(tmp_path):
        pass
