"""How a chapter begins on the web page."""

import nbformat
import pytest

from whitebear.book.build import heads, staging

COLAB = "[Open on Colab](https://colab.research.google.com/x)"


def cell(source, *tags, text=""):
    made = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    if text:
        made.outputs = [nbformat.v4.new_output("display_data", {"text/markdown": text})]
    return made


def chapter():
    words, first = nbformat.v4.new_markdown_cell, cell("first()", "first-figure")
    first.metadata["mystnb"] = {"figure": {"name": "fig-first", "caption": "A figure."}}
    return nbformat.v4.new_notebook(
        cells=[
            words(f"# A title\n\n**Does it?**\n\nHow.\n\n{COLAB}"),
            cell("import os", "remove-cell"),
            words("## Overview\n\n1. One"),
            cell("seeds = 3", "parameters"),
            cell("seeds = 2", "injected-parameters"),
            words("**The short answer:**", metadata={"tags": ["remove-cell"]}),
            cell("answer()", "answer", text="It does [1, 2] (n = 9 pictures). Not always."),
            words("## 1. Pictures"),
            cell("teach()", "shown"),
            cell("draw()"),
            first,
            cell("fold()", "hide-cell"),
        ]
    )


def test_question_and_answer_come_first_then_one_fold():
    cells = staging.for_page(chapter(), "<aside>try</aside>").cells
    title, answer, figure, frame, full, fold, *rest = cells
    assert title.source == "# A title\n\n**Does it?**\n\nHow."
    assert answer.source == ":::{div} wb-answer\nIt does.\n:::"
    assert heads.IN_FULL in full.source
    assert "It does [1, 2] (n = 9 pictures). Not always." in full.source
    assert (figure.source, frame.source) == ("first()", "<aside>try</aside>")
    for said in ("**Overview**", "```python\nseeds = 3\n```", "seeds = 2", "answer()", COLAB,
                 *staging.FOLDED.values()):  # fmt: skip
        assert fold.source.count(said) == 1, said
    assert "import os" not in fold.source and "short answer" not in fold.source
    assert "## " not in fold.source  # a heading cannot stand in a fold
    moved = "{ref}`The figure of this section <fig-first>` stands at the head of the page."
    assert [c.source for c in rest] == ["## 1. Pictures", "teach()", "draw()", moved, "fold()"]


def test_code_is_folded_but_where_it_teaches():
    *_, teach, draw, _, fold = staging.for_page(chapter()).cells
    assert [c.metadata.tags for c in (teach, draw, fold)] == [
        ["shown"], ["hide-input"], ["hide-cell"],
    ]  # fmt: skip


def test_the_notebook_itself_stays_as_it_is():
    notebook = chapter()
    staging.for_page(notebook)
    assert [c.source for c in notebook.cells] == [c.source for c in chapter().cells]


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("One.", "One."),
        ("One. Two.", "One."),
        ("“Draw B. Do not.” works (in 3. places). Two.", "“Draw B. Do not.” works (in 3. places)."),
        ("It falls by 0.5 points. Two.", "It falls by 0.5 points."),
        ("Up (25 points [17, 34], n = 384), or −96 points [−98, −93]. Two", "Up, or −96 points."),
        ("No end", "No end"),
        (f"“B, no X” works. So. {heads.LETTERS}", f"“B, no X” works. {heads.LETTERS}"),
        (f"It works. “No X”. {heads.LETTERS}", "It works."),
        ("Up (“B, but no X”, n = 3) most.", "Up (“B, but no X”, n = 3) most."),
    ],
)  # fmt: skip
def test_an_answer_in_a_sentence_has_no_intervals(answer, first):
    assert heads.lead(answer) == first
