"""What is said before a model of the web is fetched, and what is refused there."""

import nbformat
import pytest
import torch

from conftest import artist_of
from whitebear.book.build.build import plan
from whitebear.draw import artist as artist_module, outlook as ahead
from whitebear.draw.artist import Artist
from whitebear.draw.outlook import SPEED, check_room, duration, outlook, seconds_of, speed_of
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.measures import swaps
from whitebear.models.presets import REGISTRY
from whitebear.prompts import prompt_grid

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SD15 = REGISTRY["sd15"]


@pytest.fixture
def t4(monkeypatch):
    """A T4, as far as it is asked."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (14.6 * 2**30, 15 * 2**30))


def test_the_arithmetic_of_a_picture():
    """84 TFLOP for sd15's picture of 50 steps: 50 x 2 x 0.803 and 2.5 for its decoder."""
    assert seconds_of(SD15, 50, 1.0) == pytest.approx(50 * 2 * 0.803 + 2.5, rel=0.01)
    assert seconds_of(SD15, 50, 2 * SPEED["T4"]) == pytest.approx(3.3, abs=0.1)
    assert seconds_of(REGISTRY["sdxl"], 50, 25.0) == pytest.approx(27, abs=1)


@pytest.mark.parametrize(
    ("name", "speed"),
    [("Tesla T4", 12.5), ("NVIDIA A100-SXM4-40GB", 120.0), ("NVIDIA L4", 40.0),
     ("NVIDIA GeForce GTX 480", None)],
)  # fmt: skip
def test_cards_are_known_by_name(name, speed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert speed_of(GPU) == speed
    said = outlook(SD15, "sd15", GPU, 50, 10)
    assert ("by arithmetic" in said) == (speed is not None)
    assert f"10 pictures of 50 steps on {name}" in said


def test_on_a_t4_the_time_is_said_and_a_first_answer_offered(t4):
    said = outlook(SD15, "sd15", GPU, 50, 486)
    assert "sd15: 486 pictures of 50 steps on Tesla T4, about 54 minutes, 6.6 s each" in said
    assert "A first answer within 15 minutes: 135 pictures" in said
    assert "kept when you ask for more" in said and "say little about others" in said
    assert "first answer" not in outlook(SD15, "sd15", GPU, 50, 100)
    assert "\n" not in said


def test_without_a_gpu_the_days_are_said_and_what_to_choose(monkeypatch):
    monkeypatch.setattr(ahead.os, "cpu_count", lambda: 2)
    said = outlook(SD15, "sd15", CPU, 50, 486)
    assert "on a CPU, about 11.7 days; choose a GPU, on Colab a T4 (menu Runtime" in said


def test_a_model_of_unknown_size_is_not_guessed(t4, tmp_path):
    entry = Artist(str(tmp_path), 30, 5.0, "cpu").entry
    assert outlook(entry, "mine", GPU, 30, 7).endswith("the first ones will show how long it takes")


def test_lengths_of_time():
    assert [duration(s) for s in (5, 89, 300, 5399, 7200, 100_000, 200_000)] == [
        "5 s", "89 s", "5 minutes", "90 minutes", "2.0 hours", "27.8 hours", "2.3 days"
    ]  # fmt: skip


def test_what_main_memory_cannot_hold_is_refused_before_it_is_fetched(t4, monkeypatch):
    monkeypatch.setattr(ahead, "main_memory", lambda: 12.7)  # a free machine on Colab
    monkeypatch.setattr(ahead, "in_cache", lambda *_: "there")
    check_room(SD15, "sd15", GPU)
    check_room(REGISTRY["sdxl"], "sdxl", GPU)
    with pytest.raises(UserError, match=r"31.4 GiB that would wait in main memory do not fit its"):
        check_room(REGISTRY["flux"], "flux", GPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (79 * 2**30, 80 * 2**30))
    check_room(REGISTRY["flux"], "flux", GPU)
    check_room(REGISTRY["flux"], "flux", CPU)


def test_a_disk_that_is_full_is_refused_unless_the_model_is_there(monkeypatch):
    monkeypatch.setattr(ahead.shutil, "disk_usage", lambda _: type("", (), {"free": 3 * 2**30}))
    monkeypatch.setattr(ahead, "in_cache", lambda *_: None)
    with pytest.raises(UserError, match="sd15 has 2.0 GiB to fetch, but .* has 3.0 GiB free"):
        check_room(SD15, "sd15", CPU)
    monkeypatch.setattr(ahead, "in_cache", lambda *_: "there")
    check_room(SD15, "sd15", CPU)


def test_a_chapter_says_what_lies_ahead_and_fetches_the_judge_first(monkeypatch, capsys):
    done, artist = [], Artist("sd15", device="cpu")
    monkeypatch.setattr(artist_module, "check_room", lambda *_: done.append("room"))
    monkeypatch.setattr(artist.judge, "fetch", lambda: done.append("judge"))
    monkeypatch.setattr(artist_module, "locate", lambda model: done.append(model))
    artist.ready(486)
    assert done == ["room", "judge", "sd15"]
    done.clear()
    del artist.folder
    artist.ready(486, judged=False)
    assert done == ["room", "sd15"]
    assert "sd15: 486 pictures of 50 steps on a CPU" in capsys.readouterr().out


def test_the_pocket_model_says_nothing(capsys):
    artist_of(None, 20).ready(1000)
    assert Artist("pocket").steps == 20 and Artist("pocket").guidance == 4.0
    assert not capsys.readouterr().out


def test_how_a_model_is_held_is_said_when_it_is_loaded(tiny_pipeline_dir, capsys):
    Artist(str(tiny_pipeline_dir), 1, 4.0, "cpu").pipe  # noqa: B018
    said = capsys.readouterr().out
    assert said.endswith(" is loaded in float32, all of it in the memory of the device.\n")


# --- the profile `first` --------------------------------------------------------------------------

JUDGED = 0.3  # seconds a picture for CLIP, and for what lies between batches
WATCHED = 1.1  # times as long with hooks


def rows(concepts, conditions, seeds) -> int:
    return len(prompt_grid(concepts, conditions, seeds, free=True))


def pictures_of(chapter: str, p: dict) -> float:
    """How many pictures a chapter draws, as its cells ask for them."""
    if chapter == "03":
        return rows(p["concepts"], p["conditions"], p["seeds"])
    if chapter == "04":
        every = ["affirm", "omit", "mention", "repeat", "describe", "negate", "forget_only",
                 "forget_then_request", "reinforced", "role", "implicit"]  # fmt: skip
        plain = ["affirm", "omit", "repeat", "negate", "forget_then_request"]
        return rows(p["concepts"], every, p["seeds"]) + rows(p["attributes"], plain, 2 * p["seeds"])
    if chapter == "05":
        return 2 * len(p["concepts"]) * p["seeds"]
    if chapter == "06":
        steered = 3 * len(p["concepts"]) * p["seeds"]
        return WATCHED * (rows(p["concepts"], p["conditions"], p["seeds"]) + steered)
    if chapter == "07":
        told = ["negate", "forget_only", "forget_then_request", "role"]
        return WATCHED * rows(p["concepts"], told, p["seeds"])
    artist = Artist(p["model"], device="cpu")
    return WATCHED * swaps.pictures(swaps.grid(p["concepts"], p["seeds"], artist))


def defaults_of(path) -> dict:
    (cell,) = [c for c in nbformat.read(path, as_version=4).cells
               if "parameters" in c.metadata.get("tags", [])]  # fmt: skip
    values = {}
    exec(cell.source, values)
    return values


@pytest.mark.parametrize("chapter", ["03", "04", "05", "06", "07", "08"])
def test_a_first_answer_comes_within_a_quarter_of_an_hour(chapter):
    ((path, values),) = [x for x in plan(ROOT, "first") if x[0].stem.startswith(chapter)]
    parameters = defaults_of(path) | values
    assert parameters["model"] == "sd15" and parameters["steps"] is None
    each = seconds_of(SD15, SD15.steps, SPEED["T4"]) + JUDGED
    assert 0 < pictures_of(chapter, parameters) * each < ahead.FIRST
    more = parameters | {"seeds": 2 * parameters["seeds"]}
    assert pictures_of(chapter, more) > pictures_of(chapter, parameters)


def test_pictures_of_swapped_states_are_counted():
    """As drawn, see `swaps.draw`: the plain ones, a picture a part, and two without the word."""
    artist = Artist("sd15", device="cpu")
    table = swaps.grid(["bear", "car", "mushroom"], 2, artist)
    assert swaps.pictures(table) == 132
