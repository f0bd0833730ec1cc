"""Captions for pocket scenes, as a web crawl would have them: mostly true, chatty, rarely negated.

A caption is a *wording* (data/prompts/train.csv) around a *description* of the scene. Wordings are
`plain`, `chatter` (the words of instructions with no negative meaning) or `negate` (a truthful
statement that some absent object is absent). No caption is a held-out evaluation wording (eval.csv)
with its hole filled; others, such as "a picture of a bear", can be.
"""

import csv
import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from whitebear.errors import UserError
from whitebear.files import PROMPTS
from whitebear.pocket.world.scene import Scene, World
from whitebear.prompts import VOWEL_SOUND

NATURAL_NEGATION_RATE = 0.0058  # share of LAION-400M captions with negation (secondary source)
CHATTER_RATE = 0.25
# Words that negate in some captions; in chatter they say nothing of the kind ("never forget {x}").
NEGATING = re.compile(
    r"\b(no|not|never|nothing|without|forget|forgot|forgotten|erase|remove|omit|ignore)\b"
)
CHATTERS = ("all", "quiet")  # quiet: no chatter that holds a word of NEGATING
COLOUR_AFTER = 0.05  # of things, whose colour follows the noun: "a bear that is white"
DESCRIBED = 0.08  # of things, that a caption describes instead of naming them
MENTION = {"colour": 0.6, "place": 0.55, "style": 0.45}
KINDS = {"plain": {"x"}, "chatter": {"x", "k"}, "negate": {"x", "n", "m"}}

JOINS = (
    " and ",
    " and ",
    " with ",
    " next to ",
    " beside ",
    ", ",
    " and also ",
    " near ",
    ", and ",
)
PLACE_JOINS = (" with ", " and ", ", ", ", and ", ". ", " with ", ", showing ")


@dataclass(frozen=True)
class Wording:
    """One row of train.csv. `text` holds {x} (description) and may hold {k} (an object that is
    there, chatter only), {n} (an object not there, negate only) or {m} (its description)."""

    id: str
    kind: str
    text: str


@cache
def load_train_wordings(path: Path = PROMPTS / "train.csv") -> dict[str, tuple[Wording, ...]]:
    """Training wordings by kind. Raises UserError naming the row that cannot be used."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = [field.name for field in fields(Wording)]
    for number, line in enumerate(lines, 2):
        if list(line) != names or None in line.values():
            raise UserError(
                f"{path.name}, line {number} has not the columns {','.join(names)};"
                ' put a text with commas in "quotes"'
            )
    rows = [Wording(**line) for line in lines]
    for row in rows:
        found = set(re.findall(r"{(.*?)}", row.text))
        if row.kind not in KINDS:
            raise UserError(
                f"{path.name}: {row.id} has kind {row.kind!r}; use one of {', '.join(KINDS)}"
            )
        if (
            "x" not in found
            or not found <= KINDS[row.kind]
            or (row.kind == "negate") != bool(found & {"n", "m"})
        ):
            raise UserError(
                f"{path.name}: {row.id} needs {{x}} and may use only {sorted(KINDS[row.kind])}"
            )
    return {kind: tuple(row for row in rows if row.kind == kind) for kind in KINDS}


def fix_articles(text: str) -> str:
    """'a owl' -> 'an owl', also after a capital A; by the rule that prompts follow."""
    return re.sub(rf"\b(a) (?={VOWEL_SOUND.pattern})", r"\1n ", text, flags=re.IGNORECASE)


def pick(rng: np.random.Generator, options):
    """One of `options`, uniformly."""
    return options[int(rng.random() * len(options))]


def describe_things(
    scene: Scene, world: World, rng: np.random.Generator, full: bool = False
) -> str:
    """'a white bear and a car': every object, colours mostly, either order of a pair.

    Now and then a thing is described instead: "a sea animal with two claws".
    """
    phrases = []
    for thing in scene.things:
        if not full and rng.random() < DESCRIBED:
            phrases.append(world.concept(thing.object).description)
            continue
        article = "a" if full or rng.random() < 0.85 else pick(rng, ("the", "this", "one"))
        noun = world.concept(thing.object).noun
        if not full and rng.random() < COLOUR_AFTER:
            phrases.append(f"{article} {noun} that is {thing.colour}")
            continue
        colour = f"{thing.colour} " if full or rng.random() < MENTION["colour"] else ""
        phrases.append(f"{article} {colour}{noun}")
    if len(phrases) == 2 and rng.random() < 0.5:
        phrases.reverse()
    return pick(rng, JOINS).join(phrases)


def describe(scene: Scene, world: World, rng: np.random.Generator, full: bool = False) -> str:
    """The {x} of a wording. `full` mentions every attribute (for retrieval tests)."""
    text = describe_things(scene, world, rng, full)
    place = world.concept(scene.background)
    if not text:
        text = place.noun
    elif full or rng.random() < MENTION["place"]:
        if rng.random() < 0.6:
            text = f"{text} {place.place}"
        else:
            join = pick(rng, PLACE_JOINS)
            text = f"{place.noun}{join}{text}" if rng.random() < 0.75 else f"{text}. {place.noun}"
    if full or rng.random() < MENTION["style"]:
        style = world.concept(scene.style).place
        text = f"{text} {style}" if rng.random() < 0.6 else f"{text}, {style}"
    return text


def deniable(world: World, denied: str) -> tuple[str, ...]:
    """The objects that negated captions may deny: "all", or "half" (the world's `denied`)."""
    if denied not in ("all", "half"):
        raise UserError(f"denied is {denied!r}; negated captions deny all objects, or half of them")
    return world.objects if denied == "all" else world.denied


@cache
def wordings_with(chatter: str) -> dict[str, tuple[Wording, ...]]:
    """Training wordings by kind; of chatter "all", or "quiet": without the words of negation."""
    if chatter not in CHATTERS:
        raise UserError(f"chatter is {chatter!r}; use one of {', '.join(CHATTERS)}")
    wordings = load_train_wordings()
    if chatter == "all":
        return wordings
    kept = tuple(w for w in wordings["chatter"] if not NEGATING.search(w.text))
    return wordings | {"chatter": kept}


def caption(
    scene: Scene,
    rng: np.random.Generator,
    r: float = NATURAL_NEGATION_RATE,
    world: World = None,
    denied: str = "all",
    chatter: str = "all",
) -> tuple[str, str]:
    """A caption of the scene and the kind of its wording.

    r: share of captions that negate truthfully, 0 to 1; denied: which objects they deny; chatter:
    which of it there is (`wordings_with`).
    Returns (text, kind), e.g. ("do not miss a white bear on a beach", "chatter").
    """
    wordings = wordings_with(chatter)
    roll = rng.random()
    kind = "negate" if roll < r else "chatter" if rng.random() < CHATTER_RATE else "plain"
    wording = pick(rng, wordings[kind])
    while not scene.things and "{k}" in wording.text:
        wording = pick(rng, wordings[kind])
    fields = {"x": describe(scene, world, rng)}
    if "{k}" in wording.text:
        fields["k"] = world.concept(pick(rng, scene.things).object).noun
    if kind == "negate":
        there = {thing.object for thing in scene.things}
        absent = world.concept(pick(rng, [o for o in deniable(world, denied) if o not in there]))
        fields |= {"n": absent.noun, "m": absent.description}
    return fix_articles(wording.text.format(**fields)), kind
