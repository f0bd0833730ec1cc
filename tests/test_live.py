"""What the page that draws is made of: parts of the model, graphs, stored pictures, scripts."""

import io
import json

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image

from conftest import tiny_pipeline
from whitebear.book.live import examples, export, keep, parts, scripts, stored
from whitebear.files import ROOT


@pytest.fixture
def inputs():
    draw = torch.Generator().manual_seed(3)
    make = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    return make(2, 16, 8, 8), torch.tensor([500]), make(2, 77, 16), torch.ones(2, 77)


@torch.no_grad()
def test_the_denoiser_is_the_models_and_shows_what_it_read(inputs):
    latents, t, states, weights = inputs
    want = tiny_pipeline().unet(latents, t, encoder_hidden_states=states).sample
    denoiser = parts.Denoiser(tiny_pipeline().unet)
    predicted, mass, maps = denoiser(*inputs)
    assert torch.allclose(predicted, want, atol=1e-5)
    assert mass.shape[1:] == (77,) and torch.allclose(mass.sum(1), torch.ones(len(mass)), atol=1e-5)
    assert maps.shape == (77, 8, 8) and torch.allclose(maps.mean((1, 2)), mass.mean(0), atol=1e-6)
    denoiser.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_k.weight *= 1e4
    predicted = denoiser(*inputs)[0]  # now heads look at one key and nothing else
    weights[1, 4] = 0
    other, mass, _ = denoiser(latents, t, states, weights)
    assert torch.equal(other[0], predicted[0]) and not torch.allclose(other[1], predicted[1])
    assert not mass[:, 4].any() and torch.allclose(mass.sum(1), torch.ones(len(mass)), atol=1e-5)


def test_a_graph_keeps_its_weights_in_half_and_computes_in_single_precision():
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 32).half().float()  # weights that float16 holds, as shipped
    given = torch.randn(2, 32)
    graph = onnx.load_from_string(export.to_onnx(layer, {"x": given}, ["y"]))
    kinds = {t.data_type for t in graph.graph.initializer if np.prod(t.dims) >= export.LEAST}
    assert kinds == {onnx.TensorProto.FLOAT16}
    (made,) = ReferenceEvaluator(graph).run(None, {"x": given.numpy()})
    assert np.abs(made - layer(given).detach().numpy()).max() < 1e-6


def test_weights_that_half_cannot_hold_stay_whole():
    torch.manual_seed(0)
    graph = onnx.load_from_string(
        export.to_onnx(torch.nn.Linear(32, 32), {"x": torch.zeros(1, 32)}, ["y"])
    )
    kinds = {t.data_type for t in graph.graph.initializer if np.prod(t.dims) >= export.LEAST}
    assert kinds == {onnx.TensorProto.FLOAT}


@pytest.fixture
def making(monkeypatch):
    """How often what is kept was made, and what it is made of, to be changed."""
    made = {"times": 0, "files": [("a", b"1")], "code": "one"}

    def pictures():
        made["times"] += 1
        yield from made["files"]
        if made["code"] == "broken":
            raise RuntimeError

    monkeypatch.setattr(stored, "pictures", pictures)
    monkeypatch.setattr(keep.Code, "digest", lambda *_: made["code"])
    return made


def test_what_is_kept_is_made_again_only_where_something_changed(tmp_path, making):
    folder = keep.kept(tmp_path, "stored", "pictures")
    assert folder == keep.kept(tmp_path, "stored", "pictures") and making["times"] == 1
    making.update(code="two", files=[("b", b"2")])
    folder = keep.kept(tmp_path, "stored", "pictures")
    assert making["times"] == 2 and list(tmp_path.iterdir()) == [folder]
    assert [p.name for p in folder.iterdir()] == ["b"]


def test_what_is_kept_is_whole_or_not_there(tmp_path, making):
    making["code"] = "broken"
    for _ in range(2):  # a try is not stopped by what the one before it left
        with pytest.raises(RuntimeError):
            keep.kept(tmp_path, "stored", "pictures")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


def test_stored_pictures_say_what_is_in_them(tmp_path):
    example = ["“a” & b", ["x.webp", "y.webp"], [True] * 4 + [True, False] * 2]
    tmp_path.joinpath(examples.LIST).write_text(json.dumps([example]))
    html = examples.table(tmp_path)
    assert "bear in 6 of 8" in html and "&amp; b" in html
    assert "Seeds 4 to 7 of ““a” &amp; b”: bear, no bear, bear, no bear." in html
    assert 'href="../book/draw.html#p=%E2%80%9Ca%E2%80%9D+%26+b"' in html
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    seen = np.asarray(Image.open(io.BytesIO(stored.strip(images))))
    assert np.array_equal(seen, np.concatenate(list(images), 1))


def test_a_frame_leads_to_the_page_set_up_like_its_pictures(tmp_path):
    tmp_path.joinpath(examples.FRAME_LIST).write_text(
        json.dumps({chapter: [True, False, True, True] for chapter in examples.FRAMES})
    )
    frames = examples.frames(tmp_path)
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(frames) == set(examples.FRAMES) <= notebooks
    taken_out = frames["08_where_the_word_travels"]
    assert '#p=a+picture+of+a+beach+without+a+bear&amp;w=bear%3A0">' in taken_out
    assert "&amp;m=taught" in frames["09_why_it_fails"] and "bear in 3 of 4" in taken_out
    names = [examples.frame_file(chapter) for chapter in examples.FRAMES]
    assert len(set(names)) == len(names) and all(map(str.__contains__, frames.values(), names))


def test_the_wordings_of_the_page_have_published_rates_and_controls():
    known = scripts.wordings()
    assert {"text", "control", "rate", "n"} == set(known[0])
    assert {w["text"]: w["control"] for w in known}["a picture of {b} without a {c}"] == (
        "a picture of {b} with a {c}"
    )
    assert all(0 <= w["rate"] <= 1 and w["n"] for w in known)


def test_every_module_of_the_page_is_joined_once_and_in_order():
    sources = {path.stem: path.read_text() for path in (ROOT / "book/live").glob("*.js")}
    assert {*scripts.PAGE, *scripts.ENGINE} == set(sources)
    for names in (scripts.PAGE, scripts.ENGINE):
        text = scripts.joined(ROOT / "book/live", names)
        assert "import " not in text and "export " not in text
        assert not [line for line in text.splitlines() if line.count("`") % 2]  # as `slim` needs
        for i, name in enumerate(names):
            needed = [n for n in sources if f'from "./{n}.js"' in sources[name]]
            assert set(needed) <= set(names[:i]), f"{name}.js comes before what it uses"
