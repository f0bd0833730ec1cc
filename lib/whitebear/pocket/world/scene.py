"""The pocket world: drawings -> scenes -> pixels, and the truth about each picture.

world = load_world()
scene = world.sample_scene(np.random.default_rng(0))
image = world.render(scene)    # uint8 (64, 64, 3)
truth = world.labels(scene)    # bool (n_concepts,), in the order of world.names
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from whitebear.errors import UserError
from whitebear.files import WORLD
from whitebear.pocket.world import drawing as svg
from whitebear.prompts.concepts import Concept, Concepts, read_concepts

SIZE = 64  # pixels, width and height of every picture
STYLES = {"cartoon": svg.paint_cartoon, "pencil": svg.paint_pencil, "pixel": svg.paint_pixel}
THINGS_P = (0.08, 0.37, 0.55)  # how often a scene holds no, one or two things
# Places and sizes keep to the cells of the autoencoder: a denoiser of a few million parameters then
# learns a shape once and moves it, instead of learning it anew for every fraction of a cell.
CELL = 8
SIZES = (32, 48)  # of a thing alone; a pair shares the frame, so both have the smallest
TILTS = (-5, 5)


@dataclass(frozen=True)
class Thing:
    """One object in a scene: centre (x, y) and size in pixels of the frame, tilt in degrees."""

    object: str
    colour: str
    x: float
    y: float
    size: float
    tilt: float
    mirror: bool


@dataclass(frozen=True)
class Scene:
    """Everything there is to know about a picture."""

    things: tuple[Thing, ...]
    background: str
    style: str


class World(Concepts):
    """Concepts with their drawings. Make one with `load_world`, which checks what is on disk."""

    def __init__(self, concepts: tuple[Concept, ...], folder: Path):
        super().__init__(concepts)
        for style in self.styles:
            if style not in STYLES:
                raise UserError(
                    f"{folder / 'concepts.csv'}: style {style!r} has no painter; there is"
                    f" {', '.join(STYLES)}"
                )
        self._palettes = {
            c.name: svg.shades(c.name, c.colour) for c in concepts if c.kind == "colour"
        }
        self._objects = {n: svg.read_object(folder / "objects" / f"{n}.svg") for n in self.objects}
        self._backgrounds = {
            n: svg.read_background(folder / "backgrounds" / f"{n}.svg") for n in self.backgrounds
        }
        self._painted: dict[tuple[str, str, str], str] = {}

    def sample_scene(self, rng: np.random.Generator, n_things: int | None = None) -> Scene:
        """A random scene of `n_things` different objects: 0, 1 or 2, or None: as THINGS_P."""
        if n_things is None:
            n_things = int(rng.choice(3, p=THINGS_P))
        if n_things not in (0, 1, 2):
            raise UserError(f"a scene holds 0, 1 or 2 things, not {n_things}")
        names = [self.objects[i] for i in rng.permutation(len(self.objects))[:n_things]]
        things = tuple(self._place(rng, name, slot, n_things) for slot, name in enumerate(names))
        return Scene(things, _pick(rng, self.backgrounds), _pick(rng, self.styles))

    def svg(self, scene: Scene) -> str:
        """The scene as SVG text. UserError when it names something this world does not have."""
        self._check(scene)
        side = SIZE // 2 if scene.style == "pixel" else SIZE
        ground = self._backgrounds[scene.background]
        if scene.style == "pencil":
            ground = svg.wash(ground)
        things = "".join(self._paint(thing, scene.style) for thing in scene.things)
        frame = f'width="{side}" height="{side}" viewBox="0 0 {SIZE} {SIZE}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>{ground}{things}</svg>'

    def render(self, scene: Scene) -> np.ndarray:
        """The scene as pixels, uint8 (64, 64, 3). The same scene gives the same bytes."""
        png = resvg_py.svg_to_bytes(svg_string=self.svg(scene), skip_system_fonts=True)
        pixels = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))
        return pixels.repeat(SIZE // pixels.shape[0], 0).repeat(SIZE // pixels.shape[1], 1)

    def labels(self, scene: Scene) -> np.ndarray:
        """The concepts shown, bool (n_concepts,); a colour counts when any thing has it."""
        self._check(scene)
        shown = {scene.background, scene.style} | {
            n for t in scene.things for n in (t.object, t.colour)
        }
        return np.array([name in shown for name in self.names])

    def _place(self, rng: np.random.Generator, name: str, slot: int, n_things: int) -> Thing:
        size = _pick(rng, SIZES) if n_things == 1 else SIZES[0]
        x, y = (size // 2 + CELL * int(n) for n in rng.integers((SIZE - size) // CELL + 1, size=2))
        if n_things == 2:  # names are shuffled: each of a pair is as often left as right
            x = (SIZE // 4, 3 * SIZE // 4)[slot]
        tilt = _pick(rng, TILTS)
        return Thing(name, _pick(rng, self.colours), x, y, size, tilt, bool(rng.random() < 0.5))

    def _paint(self, thing: Thing, style: str) -> str:
        key = (thing.object, thing.colour, style)
        if key not in self._painted:
            self._painted[key] = STYLES[style](
                self._objects[thing.object], self._palettes[thing.colour]
            )
        scale = thing.size / 100
        flip = -scale if thing.mirror else scale
        move = (
            f"translate({thing.x:g} {thing.y:g}) rotate({thing.tilt:g})"
            f" scale({flip:g} {scale:g}) translate(-50 -50)"
        )
        return f'<g transform="{move}">{self._painted[key]}</g>'

    def _check(self, scene: Scene) -> None:
        named = [("background", scene.background), ("style", scene.style)]
        named += [
            pair for t in scene.things for pair in (("object", t.object), ("colour", t.colour))
        ]
        for kind, name in named:
            if name not in self._index or self.concepts[self._index[name]].kind != kind:
                known = ", ".join(getattr(self, f"{kind}s"))
                raise UserError(f"unknown {kind} {name!r}; this world has {known}")


def load_world(folder: Path | str = WORLD) -> World:
    """Read and check `folder`: concepts.csv, objects/*.svg, backgrounds/*.svg. UserError if bad."""
    folder = Path(folder)
    concepts = read_concepts(folder / "concepts.csv")
    return World(concepts, folder)


def _pick(rng: np.random.Generator, options: tuple):
    return options[int(rng.integers(len(options)))]
