"""What was declared before results were seen (data/why/declared.md), part by part."""

import re

from whitebear.files import DATA

DECLARED = DATA / "why" / "declared.md"


def declaration(part: int) -> str:
    """Part 1, 2, ... as Markdown for an output cell, in which headings are bold lines."""
    text = DECLARED.read_text(encoding="utf-8")
    parts = re.split(r"^# Part \d+: ", text, flags=re.MULTILINE)
    text = f"# {parts[part - 1]}" if part > 1 else parts[0]
    return re.sub(r"^#+ (.*)$", r"**\1**", text.strip(), flags=re.MULTILINE)
