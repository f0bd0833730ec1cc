"""What the live page shows before anything is loaded, and without scripts: stored pictures."""

import json
from html import escape
from pathlib import Path

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


def table(folder: Path) -> str:
    """The sentences with their pictures and counts as HTML. folder: of `stored.pictures`."""
    examples = json.loads(folder.joinpath(LIST).read_text(encoding="utf-8"))
    return "\n".join(["<div>", *(_figure(*example) for example in examples), "</div>"])


def _figure(text: str, names: list[str], present: list[bool]) -> str:
    count = f"{CONCEPT} in {sum(present)} of {len(present)}"
    images = []
    for i, name in enumerate(names):
        part = present[i * A_ROW : (i + 1) * A_ROW]
        words = ", ".join(CONCEPT if there else f"no {CONCEPT}" for there in part)
        alt = f"Seeds {i * A_ROW} to {i * A_ROW + len(part) - 1} of “{text}”: {words}."
        images.append(
            f'<img class="pixels" src="../_static/live/{name}" width="{64 * len(part)}" height="64"'
            f' alt="{escape(alt)}">'
        )
    head = f'<div class="wb-head"><q>{escape(text)}</q><b>{count}</b></div>'
    return f'<div class="wb-stored">{head}<div class="wb-strip">{"".join(images)}</div></div>'
