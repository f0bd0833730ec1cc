"""Contact sheets and the caption sampler: complete, true, and in step with what the page says."""

import nbformat
import numpy as np
import pytest

from whitebear.book.chapters import pocket_world
from whitebear.book.figures import sheets
from whitebear.errors import UserError
from whitebear.files import ROOT
from whitebear.pocket.world.captions import KINDS
from whitebear.pocket.world.scene import load_world


@pytest.fixture(scope="module")
def world():
    return load_world()


def pictures(figure) -> int:
    return sum(len(axes.images) for axes in figure.axes)


def test_sheets_show_everything(world):
    assert pictures(sheets.objects_sheet(world)) == len(world.objects)
    styles = len(world.styles)
    assert pictures(sheets.colours_sheet(world, "bear")) == len(world.colours) * styles
    assert pictures(sheets.backgrounds_sheet(world)) == len(world.backgrounds) * styles


def test_scenes_sheet_fills_an_unfinished_row(world):
    sample = pocket_world.sample_captions(world, np.random.default_rng(0), 5, 0.5)
    assert pictures(sheets.scenes_sheet(world, sample.scene, sample.text)) == 5
    with pytest.raises(UserError, match="no picture to show"):
        sheets.scenes_sheet(world, [], [])


def test_kinds_table_counts_and_every_negation_is_true(world):
    sample = pocket_world.sample_captions(world, np.random.default_rng(1), 2000, 0.2)
    table = pocket_world.kinds_table(sample)
    assert list(table.index) == list(KINDS) and table.captions.sum() == 2000
    assert abs(table.captions["negate"] / 2000 - 0.2) < 0.04
    assert pocket_world.true_negations(world, sample) == table.captions["negate"]


def test_a_false_negation_is_noticed(world):
    sample = pocket_world.sample_captions(world, np.random.default_rng(2), 300, 1.0)
    lies = sample[sample.scene.map(lambda scene: len(scene.things) == 1)].head(20).copy()
    lies["text"] = [f"no {scene.things[0].object} here" for scene in lies.scene]
    assert pocket_world.true_negations(world, lies) == 0


@pytest.mark.parametrize("n, r", [(0, 0.5), (-1, 0.5), (5, -0.1), (5, 1.5), (5, float("nan"))])
def test_bad_samples(world, n, r):
    with pytest.raises(UserError, match="take at least 1"):
        pocket_world.sample_captions(world, np.random.default_rng(0), n, r)


def test_descriptions_counted_one_by_one(world):
    objects, colours = world.objects[:3], world.colours[:2]

    class Small:
        backgrounds, styles = world.backgrounds[:2], world.styles[:1]

    Small.objects, Small.colours = objects, colours
    things = [(o, c) for o in objects for c in colours]
    contents = {()} | {(t,) for t in things}
    contents |= {tuple(sorted((a, b))) for a in things for b in things if a[0] != b[0]}
    assert pocket_world.n_descriptions(Small) == len(contents) * 2


def test_the_page_says_what_the_world_has(world):
    page = nbformat.read(ROOT / "notebooks" / "01_pocket_world.ipynb", as_version=4)
    printed = "".join(o["text"] for c in page.cells for o in c.get("outputs", []) if "text" in o)
    assert f"concepts: {pocket_world.counts(world)}\n" in printed
    assert f"descriptions: {pocket_world.n_descriptions(world)}\n" in printed
