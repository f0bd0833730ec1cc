"""The pocket world: same seed, same bytes; drawings that differ; true labels; bad input refused."""

import shutil
from itertools import combinations

import numpy as np
import pytest

from whitebear.errors import UserError
from whitebear.files import WORLD
from whitebear.pocket.world import drawing as svg
from whitebear.pocket.world.scene import (
    CELL,
    SIZE,
    SIZES,
    THINGS_P,
    TILTS,
    Scene,
    Thing,
    load_world,
)


@pytest.fixture(scope="module")
def world():
    return load_world()


@pytest.fixture
def folder(tmp_path):
    """A copy of the world's folder to spoil."""
    return shutil.copytree(WORLD, tmp_path / "world")


def one(name, colour, background="meadow", style="cartoon", size=40):
    return Scene((Thing(name, colour, 32, 32, size, 0, False),), background, style)


def test_world_is_large_enough(world):
    assert len(world.objects) >= 20 and "bear" in world.objects
    assert len(world.colours) >= 6 and len(world.backgrounds) >= 6 and len(world.styles) >= 3
    assert world.names == tuple(c.name for c in world.concepts)


def test_same_seed_same_bytes():
    def make(seed):
        world, rng = load_world(), np.random.default_rng(seed)
        return [world.render(world.sample_scene(rng)).tobytes() for _ in range(12)]

    assert make(0) == make(0)
    assert make(0) != make(1)


def test_every_object_colour_and_style_renders_and_differs(world):
    for style in world.styles:
        seen = {world.render(Scene((), "meadow", style)).tobytes()}
        for name in world.objects:
            for colour in world.colours:
                image = world.render(one(name, colour, style=style))
                assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
                seen.add(image.tobytes())
        assert len(seen) == 1 + len(world.objects) * len(world.colours)


def test_colour_fills_the_object(world):
    """Most of what an object covers is its colour or a shade of it, and the colour leads."""
    for name in world.objects:
        red, blue = (world.render(one(name, c, size=60)).astype(int) for c in ("red", "blue"))
        covered = (world.render(Scene((), "meadow", "cartoon")) != red).any(-1)
        coloured = (np.abs(red - blue) > 30).any(-1)
        assert coloured.sum() > 0.4 * covered.sum(), name


def test_colours_are_far_apart(world):
    shades = [
        tuple(int(c.colour[i : i + 2], 16) for i in (1, 3, 5)) for c in world.concepts if c.colour
    ]
    gaps = [np.abs(np.subtract(a, b)).sum() for a, b in combinations(shades, 2)]
    assert min(gaps) > 100


def test_pixel_style_is_blocks_of_two(world):
    image = world.render(one("bear", "white", style="pixel"))
    assert (image == image[::2, ::2].repeat(2, 0).repeat(2, 1)).all()


def test_labels_tell_the_truth(world):
    things = (Thing("owl", "red", 16, 30, 28, 0, False), Thing("car", "blue", 48, 30, 28, 0, True))
    shown = world.labels(Scene(things, "night", "pencil"))
    assert shown.dtype == bool and shown.shape == (len(world.names),)
    named = {n for n, yes in zip(world.names, shown, strict=True) if yes}
    assert named == {"owl", "car", "red", "blue", "night", "pencil"}


def test_sampled_scenes(world):
    rng = np.random.default_rng(0)
    scenes = [world.sample_scene(rng) for _ in range(600)]
    shares = np.bincount([len(s.things) for s in scenes], minlength=3) / len(scenes)
    assert np.allclose(shares, THINGS_P, atol=0.06)
    for scene in scenes:
        for t in scene.things:
            assert t.size in SIZES and t.tilt in TILTS
            assert t.size / 2 <= t.y <= SIZE - t.size / 2 and (t.y - t.size / 2) % CELL == 0
            assert t.size / 2 <= t.x <= SIZE - t.size / 2 and (t.x - t.size / 2) % CELL == 0
        if len(scene.things) == 2:
            left, right = scene.things
            assert left.object != right.object
            assert right.x - left.x >= (left.size + right.size) / 2
    drawn = [t for s in scenes for t in s.things]
    assert {t.size for t in drawn} == set(SIZES) and {t.tilt for t in drawn} == set(TILTS)
    assert {t.mirror for t in drawn} == {True, False}
    small = [t for t in drawn if t.size == 32]
    assert {t.x for t in small} == {t.y for t in small} == {16, 24, 32, 40, 48}
    assert {b for s in scenes for b in (s.background, s.style)} == set(
        world.backgrounds + world.styles
    )
    lefts = [s.things[0].object for s in scenes if len(s.things) == 2]
    assert set(lefts) == set(world.objects)


def test_unknown_names_in_a_scene(world):
    for scene in (one("unicorn", "red"), one("bear", "pink"), Scene((), "moon", "pixel")):
        with pytest.raises(UserError, match="unknown .*; this world has "):
            world.render(scene)
    with pytest.raises(UserError, match="0, 1 or 2"):
        world.sample_scene(np.random.default_rng(0), 3)
    with pytest.raises(UserError, match="unknown background 'bear'"):
        world.labels(Scene((), "bear", "pixel"))


HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
BAD_DRAWINGS = {
    "not well-formed": HEAD + "<path",
    "must be an <svg> with viewBox": "<svg><rect/></svg>",
    "holds no shape": HEAD + "</svg>",
    "<script> is not allowed": HEAD + "<script>alert(1)</script></svg>",
    "<image> is not allowed": HEAD + '<image href="x.png"/></svg>',
    "<style> is not allowed": HEAD + "<g><style>.a{fill:url(x)}</style></g></svg>",
    "class 'pink' is unknown": HEAD + '<circle class="pink" cx="1" cy="1" r="1"/></svg>',
    "class '' is unknown": HEAD + '<circle cx="1" cy="1" r="1"/></svg>',
    "attribute 'onclick'": HEAD + '<circle class="main" cx="1" cy="1" r="1" onclick="a"/></svg>',
    "attribute 'fill'": HEAD + '<circle class="main" cx="1" cy="1" r="1" fill="red"/></svg>',
    "r='big'": HEAD + '<circle class="main" cx="1" cy="1" r="big"/></svg>',
    "d='hello'": HEAD + '<path class="main" d="hello"/></svg>',
    "stroke-width 'wide'": HEAD + '<path class="main-line" d="M0 0" stroke-width="wide"/></svg>',
    "transform=": HEAD + '<path class="main" d="M0 0" transform="url(x)"/></svg>',
    '<g> has class="inside"': HEAD + '<g class="main"><path class="main" d="M0 0"/></g></svg>',
}


@pytest.mark.parametrize("message", BAD_DRAWINGS)
def test_bad_drawings(folder, message):
    (folder / "objects" / "bear.svg").write_text(BAD_DRAWINGS[message])
    with pytest.raises(UserError) as caught:
        load_world(folder)
    assert message in str(caught.value) and "bear.svg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_background(folder):
    text = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
    (folder / "backgrounds" / "sea.svg").write_text(text + '<rect fill="url(#x)" x="0"/></svg>')
    with pytest.raises(UserError, match="sea.svg: fill='url"):
        load_world(folder)


def test_missing_files(folder):
    (folder / "objects" / "bear.svg").unlink()
    with pytest.raises(UserError, match="bear.svg is missing"):
        load_world(folder)
    (folder / "concepts.csv").unlink()
    with pytest.raises(UserError, match="concepts.csv is missing"):
        load_world(folder)


BAD_LINES = {
    "object,bear,bear,,,a grey dog,0": "appears twice",
    "object,<script>,bear,,,a grey dog,0": "name '<script>' is not allowed",
    "object,../bear,bear,,,a grey dog,0": "is not allowed",
    "object,a'b,bear,,,a grey dog,0": "is not allowed",
    'object,"a""b",bear,,,a grey dog,0': "is not allowed",
    'object,"a\nb",bear,,,a grey dog,0': "is not allowed",
    "object,Bear,bear,,,a grey dog,0": "is not allowed",
    "object,wolf,<b>wolf</b>,,,a grey dog,0": "noun",
    "object,wolf,wolf,on a hill,,a grey dog,0": "place",
    "object,wolf,wolf,,#ff0000,a grey dog,0": "colour",
    "background,moon,the moon,,,,": "place",
    "colour,pink,pink,,pinkish,,": "#rrggbb",
    "style,oil,oil,in oil style,,,": "no painter",
    "mood,happy,happy,,,,": "kind 'mood' is unknown",
    "object,wolf": "2 columns",
    "object,wolf,wolf,,,,0": "description",
    "object,wolf,wolf,,,A <b>dog</b>,0": "description",
    "object,wolf,wolf,,,a grey wolf,0": "say it without its name",
    "style,oil,oil,in oil style,,thick paint,": "else empty",
    "object,wolf,wolf,,,a grey dog,yes": "1 or 0 for objects",
    "colour,pink,pink,,#ff88cc,,1": "else empty",
    "object,wolf,wolf,,,a grey dog,0": "wolf.svg is missing",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(folder, line):
    with (folder / "concepts.csv").open("a", newline="") as file:
        file.write(line + "\n")
    with pytest.raises(UserError) as caught:
        load_world(folder)
    assert BAD_LINES[line] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"name,kind\n", b"kind,name,noun,place,colour\n", b"\xff\xfe"]
)
def test_bad_tables(folder, text):
    (folder / "concepts.csv").write_bytes(text)
    with pytest.raises(UserError, match="concepts.csv"):
        load_world(folder)


def test_new_object_is_one_svg_and_one_line(folder):
    shutil.copy(folder / "objects" / "bear.svg", folder / "objects" / "wolf.svg")
    with (folder / "concepts.csv").open("a") as file:
        file.write("object,wolf,wolf,,,a grey dog,0\n")
    assert load_world(folder).render(one("wolf", "red")).shape == (SIZE, SIZE, 3)


def test_mix():
    assert svg.mix("#000000", "#ffffff", 0.5) == "#808080"
    assert svg.mix("#123456", "#ffffff", 0) == "#123456"
