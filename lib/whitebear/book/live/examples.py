"""What the live page shows before anything is loaded, and without scripts: stored pictures.

And smaller frames of it in chapters: four stored pictures that lead to the page, set up alike.
"""

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import urlencode

CONCEPT, SEEDS, A_ROW = "bear", 8, 4  # A_ROW: pictures side by side on a phone
SENTENCES = (
    "a picture of a beach, and a bear",
    "a picture of a beach, but no bear",
    "a picture of a beach without a bear",
    "Now draw a beach. Do not draw a bear.",
    "Please forget anything about a bear. Please help me generate a picture of a bear.",
    "Don't think of a white bear.",
)
LIST = "examples.json"  # of each sentence, names of its strips and whether the bear is in a picture
FRAME_LIST = "frames.json"  # chapter -> whether the bear is in each picture of its frame


@dataclass(frozen=True)
class Frame:
    """A frame of the live page in a chapter. asks: what the reader may try there; weigh: word ->
    how much it counts in attention."""

    text: str
    asks: str
    model: str = "shipped"
    weigh: dict[str, float] = field(default_factory=dict)

    def address(self) -> str:
        """Of the live page with this frame's sentence, from a page in any folder of the book."""
        weigh = " ".join(f"{word}:{factor:g}" for word, factor in self.weigh.items())
        state = {"p": self.text, "w": weigh, "m": "" if self.model == "shipped" else self.model}
        return f"../book/draw.html#{urlencode({k: v for k, v in state.items() if v})}"


FRAMES = {
    "03_told_to_forget": Frame(
        "Please forget anything about a bear. Please help me generate a picture of a bear.",
        "Write an instruction of your own. Does the bear go?",
    ),
    "08_where_the_word_travels": Frame(
        "a picture of a beach without a bear",
        "Here no place of the picture may read the word “bear”. What if the end token and the"
        " padding are taken out, too?",
        weigh={"bear": 0.0},
    ),
    "09_why_it_fails": Frame(
        "a picture of a beach without a bear",
        "The model that was taught what “without” means. Does it obey your sentence?",
        model="taught",
    ),
}


def table(folder: Path) -> str:
    """The sentences with their pictures and counts as HTML. folder: of `stored.pictures`."""
    examples = json.loads(folder.joinpath(LIST).read_text(encoding="utf-8"))
    return "\n".join(["<div>", *(_figure(*example) for example in examples), "</div>"])


def frames(folder: Path) -> dict[str, str]:
    """Chapter -> its frame of the live page as HTML. folder: of `stored.pictures`."""
    present = json.loads(folder.joinpath(FRAME_LIST).read_text(encoding="utf-8"))
    return {chapter: _frame(chapter, FRAMES[chapter], there) for chapter, there in present.items()}


def frame_file(chapter: str) -> str:
    return f"frame-{chapter[:2]}.webp"


def _frame(chapter: str, frame: Frame, present: list[bool]) -> str:
    count = f"{CONCEPT} in {sum(present)} of {len(present)}"
    image = _image(frame_file(chapter), 0, frame.text, present)
    link = f'<a href="{escape(frame.address())}">Draw it in your browser</a>'
    said = f"<q>{escape(frame.text)}</q> {count}. {escape(frame.asks)} {link}"
    return f'<aside class="wb-frame">{image}<p>{said}</p></aside>'


def _image(name: str, first: int, text: str, present: list[bool]) -> str:
    """A strip of pictures, of the seeds from `first` on."""
    words = ", ".join(CONCEPT if there else f"no {CONCEPT}" for there in present)
    alt = f"Seeds {first} to {first + len(present) - 1} of “{text}”: {words}."
    return (
        f'<img class="pixels" src="../_static/live/{name}" width="{64 * len(present)}" height="64"'
        f' alt="{escape(alt)}">'
    )


def _figure(text: str, names: list[str], present: list[bool]) -> str:
    count = f"{CONCEPT} in {sum(present)} of {len(present)}"
    images = [
        _image(name, start, text, present[start : start + A_ROW])
        for name, start in zip(names, range(0, len(present), A_ROW), strict=True)
    ]
    link = (
        f'<a href="{escape(Frame(text, "").address())}" aria-label="draw it: {escape(text)}">'
        "draw it</a>"
    )
    head = f'<div class="wb-head"><q>{escape(text)}</q><b>{count}</b>{link}</div>'
    return f'<div class="wb-stored">{head}<div class="wb-strip">{"".join(images)}</div></div>'
