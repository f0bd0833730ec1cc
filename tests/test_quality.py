"""The measures of the quality table, against cases worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from whitebear.pocket.training import quality
from whitebear.pocket.world.scene import load_world

WORLD = load_world()


class Known:
    """Stands where the detector stands in `obedience`: only its labels and thresholds are asked."""

    concepts = WORLD.names
    thresholds = pd.Series(0.5, index=WORLD.names)


def test_balanced_accuracy():
    truth = np.array([[1], [1], [0], [0], [0], [0]], dtype=bool)
    said = np.array([[1], [0], [0], [0], [0], [1]], dtype=bool)
    assert quality.balanced_accuracy(said, truth) == pytest.approx([(1 / 2 + 3 / 4) / 2])


def test_calibration_error():
    p = np.array([0.05, 0.05, 0.95, 0.95])
    assert quality.calibration_error(p, np.array([0, 0, 1, 1])) == pytest.approx(0.05)
    assert quality.calibration_error(p, np.array([1, 1, 0, 0])) == pytest.approx(0.95)


def test_psnr():
    a = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    b = a.clone()
    b[0] += 255
    assert quality.psnr(a, b)[0] == pytest.approx(0, abs=1e-4)
    b[0] = 51
    assert quality.psnr(a, b)[0] == pytest.approx(20 * np.log10(5), abs=1e-4)


def test_request_table_asks_for_every_concept_equally_often():
    table = quality.request_table(WORLD, 6)
    counts = table.groupby(["test", "concept"]).size()
    assert set(counts["affirm"]) == {6} and len(counts["affirm"]) == len(WORLD.objects)
    for kind, n in (("colour", 8), ("background", 8), ("style", 3), ("empty", 8)):
        assert len(counts[kind]) == n and set(counts[kind]) == {6}
    pairs = table[table.test == "pair"]
    assert (pairs.concept != pairs.second).all()
    first = [
        p.index(c) < p.index(s)
        for p, c, s in zip(pairs.prompt, pairs.concept, pairs.second, strict=True)
    ]
    assert all(first)


def test_obedience_of_a_perfect_and_of_a_blind_model():
    table = quality.request_table(WORLD, 3)
    p = np.zeros((len(table), len(WORLD.names)))
    for i, row in enumerate(table.itertuples()):
        for name in filter(None, (row.concept, row.second)):
            p[i, WORLD.names.index(name)] = 1
    rows = quality.obedience(table, p, Known, WORLD)
    assert (
        rows["affirm, object present"]
        == rows["pair, both present"]
        == rows["asked style right"]
        == 1
    )
    assert rows["omit, object not asked for"] == rows["pair, first minus second"] == 0
    blind = quality.obedience(table, np.zeros_like(p), Known, WORLD)
    assert blind["affirm, object present"] == blind["pair, both present"] == 0


def test_retrieval_scenes_have_different_descriptions():
    images, texts = quality.distinct_scenes(WORLD, 60, 3)
    assert images.shape == (60, 64, 64, 3) and len(set(texts)) == 60
