"""The output filter: which pictures it blocks, and that it is never the judge."""

import numpy as np
import pytest
import torch

from conftest import artist_of
from families import build
from whitebear.draw.artist import Artist
from whitebear.errors import UserError
from whitebear.interventions import negative_prompt, output_filter, words
from whitebear.interventions.output_filter import SEEDS, _threshold
from whitebear.prompts import caption_of, load_concepts, prompt_grid

SHARE = 0.2


@pytest.fixture(scope="module")
def artist():
    return Artist("pocket", 2, 4.0, "cpu")


@pytest.fixture(scope="module")
def rows():
    grid = prompt_grid(["bear", "owl"], ["affirm"], 4)
    return grid[grid.wording == "affirm-picture"].reset_index(drop=True)


def cosines(clip, images, concept):
    said = clip.text([caption_of(concept), "a picture of something"]).double()
    return (clip.images(images).double() @ said.T @ torch.tensor([100.0, -100.0]).double()).numpy()


def test_what_is_blocked_is_what_looks_more_like_the_concept_than_others_do(artist, rows):
    plain = artist.draw(rows, progress=False)
    with output_filter(artist, rows, SHARE) as screen:
        images = artist.draw(rows, progress=False)
    blocked = np.array(screen.blocked)
    assert artist.screen is None and 0 < blocked.sum() < len(rows)
    assert not images[blocked].any() and (images[~blocked] == plain[~blocked]).all()
    names = [name for name in load_concepts().objects for _ in SEEDS]
    table = rows.iloc[[0] * len(names)].assign(
        concept=names, seed=list(SEEDS) * len(load_concepts().objects),
        prompt=[caption_of(name) for name in names],
    )  # fmt: skip
    others = artist.draw(table, progress=False)
    for concept in ("bear", "owl"):
        scores = cosines(artist.judge.clip, others[np.array(names) != concept], concept)
        here = (rows.concept == concept).to_numpy()
        ours = cosines(artist.judge.clip, plain[here], concept)
        alarms = (scores > screen.thresholds[concept] + 1e-3).mean()
        assert SHARE - 0.02 < alarms <= SHARE
        assert ((ours > screen.thresholds[concept]) == blocked[here]).all()


def test_batches_change_nothing_and_other_pictures_are_drawn_once(artist, rows, monkeypatch):
    with output_filter(artist, rows, SHARE) as screen:
        images = artist.draw(rows, progress=False)
    monkeypatch.setattr(artist, "batch", 3)
    drawn = []
    monkeypatch.setattr(artist, "draw", lambda rows, **_: drawn.append(rows))
    with output_filter(artist, rows, SHARE) as again:
        parts = [part for _, part in artist.batches(rows, progress=False)]
    assert not drawn and again.blocked == screen.blocked
    assert np.abs(np.concatenate(parts).astype(int) - images).max() <= 1


def test_what_is_looked_for_is_what_the_given_rows_say(artist, rows):
    """Placebo: the concept of the rows that are drawn may be another one."""
    with output_filter(artist, rows.assign(concept="crab"), SHARE) as screen:
        images = artist.draw(rows, progress=False)
        with pytest.raises(UserError, match="more is drawn than the 8 rows"):
            artist.draw(rows, progress=False)
    plain = artist.draw(rows, progress=False)
    scores = cosines(artist.judge.clip, plain, "crab")
    assert screen.blocked == (scores > screen.thresholds["crab"]).tolist()
    assert (images.any((1, 2, 3)) != screen.blocked).all()


def test_no_larger_share_of_scores_exceeds_the_threshold():
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.0])
    for share, over in ((0, 0), (0.2, 1), (0.4, 1), (0.6, 3), (0.99, 4), (1, 5)):
        assert (scores > _threshold(scores, share)).sum() == over


def test_the_judge_is_no_filter(tiny_pipeline_dir, tiny_clip_dir, rows):
    web = Artist(str(tiny_pipeline_dir), 1, 4.0, "cpu")
    with pytest.raises(UserError, match="CLIP judges this model, .* give source=..."):
        output_filter(web, rows)
    with pytest.raises(UserError, match="judges this model, .* give another source"):
        output_filter(web, rows, source=web.judge.source)
    with output_filter(web, rows, 1.0, source=tiny_clip_dir) as screen:
        assert not web.draw(rows.assign(prompt="a bear"), progress=False).any()
    assert screen.blocked == [True] * len(rows)


def test_a_filter_stands_around_other_interventions(artist, rows):
    for method in (words, negative_prompt):
        with (
            method(artist, rows),
            pytest.raises(UserError, match="begin its block before theirs"),
            output_filter(artist, rows),
        ):
            pass
    assert artist.screen is None


def test_any_family_is_filtered(rows):
    artist = artist_of(build("flux"), 1)
    artist.pipe.default_sample_size = 8
    with output_filter(artist, rows[:1], 1.0):
        assert not artist.draw(rows[:1].assign(prompt="a bear"), progress=False).any()
