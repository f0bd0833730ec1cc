"""Learning to read from nothing: what is made new, what is shared, and the same bits however often
it is killed."""

import json
import math
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from whitebear.errors import UserError
from whitebear.pocket.experiments import population
from whitebear.pocket.experiments.members import MEMBERS, Member, load_members
from whitebear.pocket.experiments.teach import load_cells
from whitebear.pocket.training import clip, loop, reading, words
from whitebear.pocket.training.recipe import TOY
from whitebear.pocket.training.train import train
from whitebear.pocket.world import captions
from whitebear.pocket.world.dataset import draw_captions

CPU = torch.device("cpu")
RECIPE = replace(TOY, scenes=48, captions_per_scene=1)
UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    train("toy", 0, None, tmp_path_factory.mktemp("run"), folder)
    return folder


@pytest.fixture(scope="module")
def ground(base, tmp_path_factory):
    return reading.Ground(RECIPE, tmp_path_factory.mktemp("ground"), CPU, base).prepare()


def learn(ground, folder, seed=1, chatter="all", r=0.3, **options):
    recipe = replace(RECIPE, r=r)
    return reading.ReadingTraining(recipe, seed, chatter, folder, ground, **options)


def weights(training):
    return {**training.text_encoder.state_dict(), **training.unet.state_dict()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_only_cross_attention_is_made_new(ground):
    fresh = lambda: type(ground.finished.unet).from_config(ground.finished.unet.config)  # noqa: E731
    unet, before = fresh(), {}
    before.update({k: v.clone() for k, v in unet.state_dict().items()})
    words.forget_reading(unet)
    changed = {k for k, v in unet.state_dict().items() if not torch.equal(v, before[k])}
    matrices = {k for k in before if "attn2" in k}
    assert changed == matrices
    for module in (m for n, m in unet.named_modules() if n.endswith("norm2") and "attentions" in n):
        assert (module.weight == 1).all() and (module.bias == 0).all()


def test_two_runs_from_nothing_agree_to_the_bit_and_seeds_differ(ground, tmp_path):
    first, again, other = (
        weights(learn(ground, tmp_path / name, seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert same(first, again) and not same(first, other)


def test_killed_at_any_step_and_gone_on_it_ends_in_the_same_bits(ground, tmp_path):
    """Moments too must come back in the order of memory that the optimiser walks in."""
    whole = weights(learn(ground, tmp_path / "whole"))
    stops = 0
    while True:
        try:
            cut = weights(learn(ground, tmp_path / "cut", deadline=time.monotonic()))
            break
        except loop.OutOfTime:
            stops += 1
    assert stops == 2 * (RECIPE.clip.steps - 1) and same(whole, cut)


def test_what_cannot_read_is_shared_to_the_bit(ground, base, tmp_path):
    training = learn(ground, tmp_path / "run")
    training.export(tmp_path / "out")
    ours, theirs = tmp_path / "out" / "pocket", base / "pocket"
    for part in ("vae/diffusion_pytorch_model", "image_encoder/model"):
        files = (folder / f"{part}.safetensors" for folder in (ours, theirs))
        assert same(*map(load_file, files)), part
    assert not same(load_file(ours / TEXT), load_file(theirs / TEXT))
    scheduler = "scheduler/scheduler_config.json"
    assert json.loads((ours / scheduler).read_text()) == json.loads(
        (theirs / scheduler).read_text()
    )
    record = json.loads((ours / "training.json").read_text())
    assert (record["seed"], record["chatter"], record["recipe"]["r"]) == (1, "all", 0.3)


def test_captions_are_a_members_own(ground, tmp_path):
    ids = {
        name: learn(ground, tmp_path / name, **about).ids
        for name, about in {
            "a": {},
            "other seed": {"seed": 2},
            "other rate": {"r": 0.0},
            "quiet": {"chatter": "quiet", "r": 0.0},
        }.items()
    }
    assert all(not torch.equal(ids["a"], x) for name, x in ids.items() if name != "a")
    texts = ground.tokenizer.batch_decode(ids["quiet"].flatten(0, 1), skip_special_tokens=True)
    assert not [text for text in texts if captions.NEGATING.search(text)]


def test_quiet_chatter_never_uses_the_words_of_negation_and_keeps_their_share():
    loud, quiet = (
        [t for row in draw_captions(4000, "train", 0, 1, 0.1, chatter=name) for t in row]
        for name in captions.CHATTERS
    )
    share = lambda texts: sum(bool(captions.NEGATING.search(t)) for t in texts) / len(texts)  # noqa: E731
    said_so = 0.1 * 22 / 24  # two of the wordings that negate use none of these words
    assert share(quiet) == pytest.approx(said_so, abs=0.02) and share(loud) > 0.15


def test_chatter_of_another_name_is_refused():
    with pytest.raises(UserError, match="chatter is 'loud'; use one of all, quiet"):
        captions.wordings_with("loud")


def test_a_folder_of_another_member_is_refused(ground, tmp_path):
    learn(ground, tmp_path)
    with pytest.raises(UserError, match="holds a run with other chatter, seed"):
        learn(ground, tmp_path, seed=2, chatter="quiet")


def test_the_image_tower_does_not_learn_and_labels_can_be_left_out():
    tower = words.TextTower(clip.Clip(TOY, _Tokenizer(), 5).text, 5)
    images = normalize(torch.randn(6, TOY.text_width), dim=-1).requires_grad_()
    ids = torch.full((6, 1, 77), 9)
    ids[:, 0, 1:5] = torch.randint(8, (6, 4))
    for weight in (0.0, 1.0):
        loss = words.LockedImageLoss(tower, images.detach(), torch.ones(6, 5), ids, 4, weight)
        tower.zero_grad()
        loss(torch.Generator().manual_seed(0)).backward()
        assert (tower.labels.weight.grad is None) == (weight == 0)
        assert tower.text.get_input_embeddings().weight.grad is not None
    assert images.grad is None


class _Tokenizer:
    bos_token_id, eos_token_id, pad_token_id = 8, 9, 9

    def __len__(self):
        return 10


def test_padding_that_cannot_matter_is_cut():
    tower = clip.Clip(TOY, _Tokenizer(), 5).text.eval()
    ids = torch.full((7, 77), 9)
    for row, length in zip(ids, (4, 76, 2, 9, 1, 30, 9), strict=True):
        row[:length] = torch.randint(8, (length,))
    torch.testing.assert_close(words.pooled_states(tower, ids), tower(ids).pooler_output)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a-1,2,all,1", "r is a share"),
        ("a-1,0,loud,1", "chatter is one of all, quiet"),
        ("a-1,0,all,0", "a seed counts from 1"),
    ],
)
def test_lines_that_are_no_member_are_refused(tmp_path, line, said):
    path = tmp_path / "population.csv"
    path.write_text(f"id,r,chatter,seed\n{line}\n")
    with pytest.raises(UserError, match=said):
        load_cells(path, Member)


def test_the_population_of_the_book_is_as_declared():
    members = load_cells(MEMBERS, Member)
    seeds = {}
    for m in members.values():
        seeds.setdefault((m.group, m.r, m.chatter), []).append(m.seed)
        assert m.id == f"{m.group}-{m.seed}"
    assert seeds == {
        ("web", 0.0058, "all"): [1, 2, 3, 4, 5],
        ("none", 0.0, "all"): [1, 2, 3],
        ("fifth", 0.2, "all"): [1, 2, 3],
        ("quiet", 0.0058, "quiet"): [1, 2, 3],
    }


def test_a_member_is_trained_in_a_folder_of_its_own(base, tmp_path):
    member = Member("none-1", 0.0, "all", 1)
    seconds = population.learn(member, tmp_path / "run" / "none-1", tmp_path / "out", base, RECIPE)
    assert set(seconds) == {"clip", "denoiser"} and all(s < math.inf for s in seconds.values())
    assert (tmp_path / "out" / "pocket" / UNET).is_file()
    assert [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith("ground-")]


def published(tmp_path, *names, base="b"):
    """A folder of published members, each with one row of scores, and the list of them."""
    (tmp_path / "population.csv").write_text(
        "id,r,chatter,seed\nweb-1,0.0058,all,1\nweb-2,0.0058,all,2\n"
    )
    for name in names:
        member = {"id": name, "r": 0.0058, "chatter": "all", "seed": int(name[-1])}
        record = {"member": member, "base": f"{base}{name}" if base == "own" else base,
                  "quality": {"affirm, object present": 0.9}}  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
        for end in ("", "-clauses"):
            pd.DataFrame({"concept": ["bear"]}).to_parquet(tmp_path / f"{name}{end}.parquet")
    return tmp_path, tmp_path / "population.csv"


def test_members_that_were_never_trained_are_left_out(tmp_path):
    found = load_members(*published(tmp_path, "web-2"))
    assert list(found) == ["web-2"] and found["web-2"].usable


def test_a_broken_member_is_named(tmp_path):
    about = published(tmp_path, "web-1", "web-2")
    (tmp_path / "web-2-clauses.parquet").unlink()
    with pytest.raises(UserError, match="member web-2 is broken: .* lacks web-2-clauses.parquet"):
        load_members(*about)


def test_members_of_another_description_or_base_are_refused(tmp_path):
    folder, path = published(tmp_path, "web-1", "web-2", base="own")
    with pytest.raises(UserError, match="members on 2 bases"):
        load_members(folder, path)
    path.write_text("id,r,chatter,seed\nweb-1,0.2,all,1\n")
    with pytest.raises(UserError, match="member web-1 was trained as another one"):
        load_members(folder, path)
