"""How a chapter begins on the web page: question, answer, pictures; then all that runs it, folded.

In a notebook the answer can only stand below the cells that compute it. The page has been computed
already, so `for_page` puts first what a reader came for.
"""

import re

import nbformat

ANSWER = "answer"  # tag of the cell whose text answers the chapter's question
FIRST = "first-figure"  # tag of the figure, wherever it is made, that stands beside the answer
SHOWN = "shown"  # tag of a cell whose code teaches: the page does not fold it
FOLD = "Run this chapter yourself"
IN_FULL = "The answer in full, with intervals and counts"
COLAB = re.compile(r"\n\n(\[Open on Colab\]\([^)]+\))\s*$")
# An interval, or a bracket with a count of pictures: what an answer in one sentence leaves out.
NUMBERS = re.compile(r" (?:\[[−+\d][^\]]*\]|\([^()“]*\bn = [^()]*\))")
LETTERS = "X is the concept, Y another object, B a place."  # where an answer quotes wordings
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def lead(answer: str) -> str:
    """The first sentence of an answer, without intervals and counts. Quoted sentences are no ends.

    >>> lead("“Draw B. Do not draw X.” shows it in 90 % [85, 94] (n = 384). Nobody knows why.")
    '“Draw B. Do not draw X.” shows it in 90 %.'
    """
    depth, letters = 0, LETTERS in answer
    for place, letter in enumerate(answer):
        depth += (letter in "“([") - (letter in "”)]")
        if not depth and letter in ".!?" and answer[place + 1 : place + 2] in ("", " ", "\n"):
            answer = answer[: place + 1]
            break
    short = NUMBERS.sub("", answer.strip())
    return f"{short} {LETTERS}" if letters and re.search(r"\b[XYB]\b", short) else short


def begin(
    cells: list[nbformat.NotebookNode], frame: str, folds: dict[str, str]
) -> list[nbformat.NotebookNode]:
    """Cells of an executed chapter in the order of the page: title, answer, pictures (the figure
    tagged FIRST, a frame of the live page), folds with the whole answer and with all that stood
    between title and answer, and the rest as it was.

    frame: HTML, or "". folds: tag -> what the fold says above a cell with it. A notebook without a
    cell tagged ANSWER keeps its order.
    """
    at = next((i for i, cell in enumerate(cells) if ANSWER in _tags(cell)), None)
    shown = [nbformat.v4.new_markdown_cell(frame, id="live-frame")] if frame else []
    if at is None:
        return [*cells[:1], *shown, *cells[1:]]
    title, answer = cells[0], cells[at]
    link = COLAB.search(title.source)
    title.source = COLAB.sub("", title.source)
    inside = [cell for cell in cells[1:at] if "remove-cell" not in _tags(cell)]
    parts = [_folded(cell, folds) for cell in inside]
    boxes = []
    if answer.cell_type == "code":
        parts.append(_folded(answer, folds))
        answer, *boxes = _boxed(answer)
    parts += [link.group(1)] if link else []
    boxes.append(_fold("run-yourself", FOLD, "\n\n".join(parts)))
    shown = [cell for cell in cells[at:] if FIRST in _tags(cell)] + shown
    rest = [_moved(cell) if FIRST in _tags(cell) else cell for cell in cells[at + 1 :]]
    return [title, answer, *shown, *boxes, *rest]


def _fold(name: str, title: str, text: str) -> nbformat.NotebookNode:
    """A box of the page that opens on a click; its class is its name, by which paper knows it."""
    box = f"::::{{dropdown}} {title}\n:class-container: wb-{name}\n\n{text}\n\n::::"
    return nbformat.v4.new_markdown_cell(box, id=name)


def _moved(figure) -> nbformat.NotebookNode:
    """What stands where a figure was that is shown at the head."""
    name = figure.metadata["mystnb"]["figure"]["name"]
    text = f"{{ref}}`The figure of this section <{name}>` stands at the head of the page."
    return nbformat.v4.new_markdown_cell(text, id=f"{figure.id}-moved"[:64])


def _tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def _folded(cell, folds: dict[str, str]) -> str:
    """A cell as text of the fold: headings there are bold lines, code is a box to copy from."""
    if cell.cell_type == "markdown":
        return HEADING.sub(r"**\1**", cell.source)
    said = [f"**{folds[tag]}**" for tag in _tags(cell) if tag in folds]
    return "\n\n".join([*said, f"```python\n{cell.source}\n```"])


def _boxed(cell) -> list[nbformat.NotebookNode]:
    """The answer that a cell computed: one sentence to read, and a fold with all of it."""
    found = [output.get("data", {}).get("text/markdown") for output in cell.outputs]
    full = "\n\n".join("".join(text) for text in found if text).strip()
    short = lead(full)
    box = nbformat.v4.new_markdown_cell(f":::{{div}} wb-answer\n{short}\n:::", id=cell.id)
    return [box] if short == full else [box, _fold("in-full", IN_FULL, full)]
