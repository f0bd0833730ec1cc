"""The pocket world: drawings -> scenes -> pixels, and the truth about each picture.

world = load_world()
scene = world.sample_scene(np.random.default_rng(0))
image = world.render(scene)    # uint8 (64, 64, 3)
truth = world.labels(scene)    # bool (n_concepts,), in the order of world.names
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from whitebear.errors import UserError
from whitebear.paths import WORLD
from whitebear.pocket import svg

SIZE = 64  # pixels, width and height of every picture
KINDS = ("object", "colour", "background", "style")
HEADER = ["kind", "name", "noun", "place", "colour", "description"]
NAME = re.compile(r"[a-z][a-z0-9-]*")
PHRASE = re.compile(r"[a-z][a-z0-9 -]*")
COLOUR = re.compile(r"#[0-9a-f]{6}")
STYLES = {"cartoon": svg.paint_cartoon, "pencil": svg.paint_pencil, "pixel": svg.paint_pixel}
THINGS_P = (0.08, 0.37, 0.55)  # how often a scene holds no, one or two things
# Places and sizes keep to the cells of the autoencoder: a denoiser of a few million parameters then
# learns a shape once and moves it, instead of learning it anew for every fraction of a cell.
CELL = 8
SIZES = (32, 48)  # of a thing alone; a pair shares the frame, so both have the smallest
TILTS = (-5, 5)


@dataclass(frozen=True)
class Concept:
    """A line of concepts.csv: what the detector looks for and how captions call it.

    `description` says what an object is without its name: "a sea animal with two claws".
    """

    kind: str
    name: str
    noun: str
    place: str
    colour: str
    description: str


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


class World:
    """Concepts with their drawings. Make one with `load_world`, which checks what is on disk."""

    def __init__(self, concepts: tuple[Concept, ...], folder: Path):
        self.concepts = concepts
        self.names = tuple(c.name for c in concepts)
        self.objects, self.colours, self.backgrounds, self.styles = (
            tuple(c.name for c in concepts if c.kind == kind) for kind in KINDS
        )
        self._index = {name: i for i, name in enumerate(self.names)}
        self._palettes = {
            c.name: svg.shades(c.name, c.colour) for c in concepts if c.kind == "colour"
        }
        self._objects = {n: svg.read_object(folder / "objects" / f"{n}.svg") for n in self.objects}
        self._backgrounds = {
            n: svg.read_background(folder / "backgrounds" / f"{n}.svg") for n in self.backgrounds
        }
        self._painted: dict[tuple[str, str, str], str] = {}

    def concept(self, name: str) -> Concept:
        """The concept of that name."""
        return self.concepts[self._index[name]]

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


def read_concepts(path: Path) -> tuple[Concept, ...]:
    """The lines of concepts.csv. UserError on a missing file, bad header, bad or repeated name."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; a world needs a concepts.csv with columns {','.join(HEADER)}"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a UTF-8 csv file: {error}") from None
    if header != HEADER:
        raise UserError(
            f"{path} must start with the columns {','.join(HEADER)}, not {','.join(header)!r}"
        )
    concepts = tuple(_concept(path, number, row) for number, row in enumerate(rows, start=2))
    names = [c.name for c in concepts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{path}: name {name!r} appears twice; every concept needs a name of its own"
            )
    for kind in KINDS:
        if sum(c.kind == kind for c in concepts) < (2 if kind == "object" else 1):
            raise UserError(
                f"{path}: too few lines of kind {kind!r}; it needs two objects and one of the rest"
            )
    return concepts


def _concept(path: Path, number: int, row: list[str]) -> Concept:
    where = f"{path}, line {number}"
    if len(row) != len(HEADER):
        raise UserError(f"{where}: {len(row)} columns; expected {len(HEADER)} ({','.join(HEADER)})")
    concept = Concept(*row)
    if concept.kind not in KINDS:
        raise UserError(f"{where}: kind {concept.kind!r} is unknown; use one of {', '.join(KINDS)}")
    if not NAME.fullmatch(concept.name):
        raise UserError(f"{where}: name {concept.name!r} is not allowed; use a-z, 0-9 and -")
    if not PHRASE.fullmatch(concept.noun):
        raise UserError(f"{where}: noun {concept.noun!r} is not allowed; use lower-case words")
    placed = concept.kind in ("background", "style")
    if not (PHRASE.fullmatch(concept.place) if placed else concept.place == ""):
        raise UserError(
            f"{where}: place {concept.place!r}; words for backgrounds and styles, else empty"
        )
    if not (COLOUR.fullmatch(concept.colour) if concept.kind == "colour" else concept.colour == ""):
        raise UserError(
            f"{where}: colour {concept.colour!r}; #rrggbb in lower case for colours, else empty"
        )
    described = concept.kind == "object"
    if not (PHRASE.fullmatch(concept.description) if described else concept.description == ""):
        raise UserError(
            f"{where}: description {concept.description!r};"
            " lower-case words for objects, else empty"
        )
    if concept.noun in concept.description.split():
        raise UserError(f"{where}: description names the {concept.noun}; say it without its name")
    if concept.kind == "style" and concept.name not in STYLES:
        raise UserError(
            f"{where}: style {concept.name!r} has no painter; there is {', '.join(STYLES)}"
        )
    return concept


def _pick(rng: np.random.Generator, options: tuple):
    return options[int(rng.integers(len(options)))]
