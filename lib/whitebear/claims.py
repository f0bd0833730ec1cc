"""What the book claims, each with its number: saved by chapters, collected on one page."""

import re
from dataclasses import asdict, dataclass

from whitebear.errors import UserError

HEAD = (
    "| Claim | Estimate [95 %] | n | Held against | Verdict | Where |",
    "|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Claim:
    """One sentence of the book that a number decides.

    estimate: with its interval, as text; n: what was counted; control: what it was held against;
    verdict: the word that the number leads to, by a rule declared before; figure: the label of the
    figure (or section) that shows it.
    """

    claim: str
    estimate: str
    n: str
    control: str
    verdict: str
    figure: str


def as_records(claims: list[Claim]) -> list[dict[str, str]]:
    """Claims for a JSON file. Raises `UserError` for one that lacks a part."""
    for claim in claims:
        if empty := [name for name, text in asdict(claim).items() if not str(text).strip()]:
            raise UserError(f"the claim {claim.claim!r} has no {empty[0]}")
    return [{name: str(text) for name, text in asdict(claim).items()} for claim in claims]


def table(chapters: dict[str, list[dict[str, str]]]) -> str:
    """The claims of all chapters (title -> records) as Markdown, a heading and a table each."""
    parts = []
    for title, records in chapters.items():
        if records:
            rows = [_row(record) for record in records]
            parts.append("\n".join([f"**{_cell(title)}**", "", *HEAD, *rows]))
    return "\n\n".join(parts)


def _row(record: dict[str, str]) -> str:
    cells = [_cell(record[k]) for k in ("claim", "estimate", "n", "control", "verdict")]
    figure = record["figure"]
    if not re.fullmatch(r"[a-z][a-z0-9-]*", figure):
        raise UserError(f"figure {figure!r} of a claim is no label; use a-z, 0-9 and -")
    return "| " + " | ".join([*cells, f"{{numref}}`{figure}`"]) + " |"


def _cell(text: str) -> str:
    """Text that can neither leave its cell nor be read as markup."""
    text = re.sub(r"\s+", " ", str(text))
    return re.sub(r"([\\|*_`{}\[\]<>$])", r"\\\1", text)
