"""What captions say of a thing by the words before it: P(the picture lacks X | the caption says
"... without a X"), in each population of captions. Pocket captions are made by a grammar, so that
this is known, and not guessed from a model.

    python -m whitebear dose          # writes data/results/why/dose.parquet

Every training wording is filled for the same scenes, and counts by its share of a population; so
the cues of negated captions are known as well as those of others where one caption in 200 negates.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from whitebear.errors import exit_on_user_error
from whitebear.files import RESULTS, write_parquet
from whitebear.pocket.world.captions import (
    CHATTER_RATE,
    Wording,
    describe,
    pick,
    wordings_with,
)
from whitebear.pocket.world.scene import World, load_world
from whitebear.prompts import fill, load_clauses, load_wordings

DOSE = RESULTS / "why" / "dose.parquet"
POPULATIONS = (
    (0.0, "all"), (0.0058, "all"), (0.0058, "quiet"), (0.0253, "all"), (0.2, "all"), (0.5, "all"),
)  # fmt: skip
CAPTIONS = 240_000  # that a model learns from: what counts in tables are given for
LEAST = 20  # of these hold a cue that counts as known
SCENES = 1_000  # that every wording is filled for
LONGEST = 8  # words of a context
SHRINK = 100  # captions that a cue needs to count for half
START, STOPS = "^", frozenset(".:;!?^")  # where a caption begins; what ends a sentence
Context = tuple[str, ...]
Word = tuple[str, str]  # kind (word, background, name, description) and word or concept


@dataclass(frozen=True)
class Mention:
    """A place where a text speaks of an object: by its name or its description, the words before
    it (at most 8), and whether the text speaks of that object nowhere else."""

    object: str
    by: str
    before: Context
    once: bool

    def contexts(self) -> Iterator[Context]:
        """The last word before the mention, the last two, ... up to all."""
        return (self.before[-n:] for n in range(1, len(self.before) + 1))

    def sentence(self) -> Context:
        """The words before the mention in its sentence."""
        ends = [i for i, word in enumerate(self.before) if word in STOPS]
        return self.before[ends[-1] + 1 :] if ends else self.before


@cache
def _pattern(world: World) -> tuple[re.Pattern, dict[str, Word]]:
    names = {}
    for concept in world.concepts:
        if concept.kind == "object":
            names[concept.noun] = "name", concept.name
            names[concept.description] = "description", concept.name
        elif concept.kind == "background":
            names[concept.noun] = "background", concept.name
    longest = sorted(names, key=len, reverse=True)
    known = "|".join(rf"\b{re.escape(name)}\b" for name in longest)
    return re.compile(rf"{known}|\w+|[.,:;!?]"), names


def parse(text: str, world: World) -> list[Word]:
    """The words and marks of a text; names and descriptions of objects and names of backgrounds are
    one word each, "an" is "a"."""
    pattern, names = _pattern(world)
    found = (m.group() for m in pattern.finditer(text.lower()))
    return [names.get(word, ("word", "a" if word == "an" else word)) for word in found]


def mentions(text: str, world: World) -> list[Mention]:
    """Where a caption or a prompt speaks of objects, in order.

    In the words before, objects are "O" and backgrounds "B", and a description lends its article,
    so that "without a bear" and "without a big furry animal with round ears" are one cue.

    >>> [m.before for m in mentions("a beach without an owl", load_world())]
    [('^', 'B', 'without', 'a')]
    """
    return mentions_in(parse(text.rstrip(". "), world))


def mentions_in(parsed: list[Word]) -> list[Mention]:
    """`mentions` of a text that is parsed already."""
    words = [START] + [{"word": w, "background": "B"}.get(kind, "O") for kind, w in parsed]
    objects = [name if kind in ("name", "description") else None for kind, name in parsed]
    return [
        Mention(name, parsed[i][0], _before(words[: i + 1], parsed[i][0]), objects.count(name) == 1)
        for i, name in enumerate(objects)
        if name
    ]


def _before(words: list[str], by: str) -> Context:
    return tuple(words[-LONGEST:] + ["a"] * (by == "description"))[-LONGEST:]


def cues_of(mention: Mention) -> Iterator[tuple]:
    """What a reader could go by: each context, and each single word before it in its sentence."""
    yield from (("context", *context) for context in mention.contexts())
    yield from (("word", word) for word in set(mention.sentence()))


@dataclass(frozen=True)
class Portion:
    """Captions that a model learned from: how often they negate, which chatter, how many."""

    r: float
    chatter: str = "all"
    captions: float = CAPTIONS


Diet = tuple[Portion, ...]


class Cues:
    """What captions say of objects, for the cues that `texts` hold and no others.

    once: count only captions that speak of the object this once.
    """

    def __init__(self, texts: Iterable[str], world: World | None = None, scenes: int = SCENES):
        self.world = world or load_world()
        asked = (m for text in texts for m in mentions(text, self.world))
        self.asked = {cue for mention in asked for cue in cues_of(mention)}
        self.scenes = scenes
        # (once, cue) -> (wording, whether there are things) -> [pictures without it, all]
        self._counts: dict = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        rng = np.random.default_rng(0)
        drawn = [self.world.sample_scene(rng) for _ in range(scenes)]
        told = [(scene, parse(describe(scene, self.world, rng), self.world)) for scene in drawn]
        for wordings in wordings_with("all").values():
            for wording in wordings:
                self._read(wording, told, rng)

    def _read(self, wording: Wording, told: list, rng: np.random.Generator) -> None:
        """Count the captions that say this wording of each scene: (scene, parsed description)."""
        parts = re.split(r"{(\w)}", wording.text)  # words, hole, words, hole, ..., words
        words, holes = [parse(part, self.world) for part in parts[::2]], parts[1::2]
        for scene, description in told:
            there = [thing.object for thing in scene.things]
            if not there and "k" in holes:
                continue
            absent = pick(rng, [name for name in self.world.objects if name not in there])
            fills = {"x": description, "n": [("name", absent)], "m": [("description", absent)]}
            if there:
                fills["k"] = [("name", pick(rng, there))]
            parsed = list(words[0])
            for hole, after in zip(holes, words[1:], strict=True):
                parsed += fills[hole] + after
            for mention in mentions_in(parsed):
                self._add(mention, (wording.id, bool(there)), mention.object not in there)

    def _add(self, mention: Mention, where: tuple[str, bool], lacking: bool) -> None:
        for cue in self._asked_of(mention):
            for once in {False, mention.once}:
                told = self._counts[once, cue][where]
                told[0] += lacking
                told[1] += 1

    def _asked_of(self, mention: Mention) -> Iterator[tuple]:
        """Those of its cues that count; what ends no context of a prompt starts no longer one."""
        for context in mention.contexts():
            if ("context", *context) not in self.asked:
                break
            yield ("context", *context)
        yield from self.asked.intersection(("word", word) for word in mention.sentence())

    def count(self, cue: tuple, diet: Diet, once: bool = True) -> tuple[float, float]:
        """How many captions of a diet hold the cue: those whose picture lacks the thing, and all.

        cue: ("context", word, ...) or ("word", word), among those asked for.
        """
        held, lacking, count = self._counts.get((once, cue), {}), 0.0, 0.0
        for portion in diet:
            shares = shares_of(portion.r, portion.chatter)
            for where, (absent, every) in held.items():
                each = portion.captions * shares.get(where, 0.0) / self.scenes
                lacking, count = lacking + each * absent, count + each * every
        return lacking, count


@cache
def shares_of(r: float, chatter: str) -> dict[tuple[str, bool], float]:
    """The share of each wording among captions of scenes with things (True) and without (False)."""
    kinds = {"negate": r, "chatter": (1 - r) * CHATTER_RATE, "plain": (1 - r) * (1 - CHATTER_RATE)}
    shares = {}
    for kind, wordings in wordings_with(chatter).items():
        for things in (True, False):
            usable = [w for w in wordings if things or "{k}" not in w.text]
            shares |= {(w.id, things): kinds[kind] / len(usable) for w in usable}
    return shares


def absence(mention: Mention, cues: Cues, diet: Diet, unread: float = 1.0) -> float:
    """q, 0 to 1: how surely the mention tells a reader of these captions that X is not there.

    Read from the words before it, lengthened one by one; each context moves q to the share of
    captions whose picture lacks X, by its count: q <- (absent + SHRINK q) / (n + SHRINK). One
    forbidding word is enough: q is no less than absent / (n + SHRINK) of any single word before X
    in its sentence. unread: what q is before anything was read (1: who is not named is absent).
    """
    q = unread
    for context in mention.contexts():
        absent, n = cues.count(("context", *context), diet)
        if not n:
            break
        q = (absent + SHRINK * q) / (n + SHRINK)
    words = (cues.count(("word", word), diet) for word in mention.sentence())
    return max([q, *(absent / (n + SHRINK) for absent, n in words)])


def object_wordings() -> dict[str, str]:
    """The wordings about objects and the clauses, by id, filled with one example: what a cue is
    does not depend on which object, place or partner it is."""
    world, rows = load_world(), load_wordings()
    rows = rows[["object" in kinds.split() for kinds in rows.kind]]
    texts = pd.concat([rows, load_clauses()]).itertuples()
    return {row.id: example(row.text, world) for row in texts}


def example(text: str, world: World) -> str:
    """A wording about the first object, beside the second, at the first place."""
    one, other = (world.concept(name) for name in world.objects[:2])
    place = world.concept(world.backgrounds[0])
    return fill(text, c=one.noun, d=one.description, o=other.noun, b=place.noun)[0]


def dose_table(cues: Cues | None = None) -> pd.DataFrame:
    """For each population, wording and mention of X what captions say of it: `tables.DOSE`."""
    prompts, world = object_wordings(), load_world()
    cues, rows = cues or Cues(prompts.values()), []
    subject = world.objects[0]
    for r, chatter in POPULATIONS:
        diet = (Portion(r, chatter),)
        for wording, text in prompts.items():
            of_x = [m for m in mentions(text, world) if m.object == subject]
            for number, mention in enumerate(of_x, 1):
                rows.append({"r": r, "chatter": chatter, "wording": wording, "mention": number,
                             "by": mention.by} | _known(mention, cues, diet))  # fmt: skip
    return pd.DataFrame(rows)


def _known(mention: Mention, cues: Cues, diet: Diet) -> dict:
    """The longest known context of a mention, and the most forbidding known word before it."""
    said = {}
    for once, suffix in ((False, ""), (True, "_once")):
        known, held, absent = (), 0.0, np.nan
        for context in mention.contexts():
            lacking, count = cues.count(("context", *context), diet, once)
            if count >= LEAST:
                known, held, absent = context, count, lacking / count
        said |= {f"cue{suffix}": " ".join(known), f"words{suffix}": len(known),
                 f"count{suffix}": held, f"p_absent{suffix}": absent}  # fmt: skip
    word, p = "", np.nan
    for candidate in mention.sentence():
        lacking, count = cues.count(("word", candidate), diet)
        if count >= LEAST and not lacking / count <= p:
            word, p = candidate, lacking / count
    return said | {"word": word, "p_absent_word": p, "absence": absence(mention, cues, diet),
                   "absence_named": absence(mention, cues, diet, unread=0.0)}  # fmt: skip


@exit_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """`python -m whitebear dose`."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    print(write_parquet(dose_table(), DOSE))
