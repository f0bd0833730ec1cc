"""The published numbers, and whether those of the run at hand agree with them.

`make full` writes them (see `publish`): for each chapter its numbers and claims with their origin,
and one table of all scored pictures.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from whitebear.book.report.claim import Claim, as_records
from whitebear.errors import UserError
from whitebear.files import RESULTS
from whitebear.models.load import fingerprint, locate

FILE = RESULTS / "published.json"
NOTHING = "No numbers have been published for this chapter with this model yet."


def read_published(path: Path = FILE) -> dict[str, dict]:
    """Chapter -> what was published: origin, numbers, claims. Empty where nothing ever was.

    Raises `UserError` for a file that is no such record.
    """
    if not path.is_file():
        return {}
    try:
        chapters = json.loads(path.read_text(encoding="utf-8"))
        whole = all({"origin", "numbers", "claims"} <= set(c) for c in chapters.values())
    except (ValueError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{path.name} is no record of published numbers; run make full again")
    return chapters


def beside(
    chapter: str, model: str, claims: Sequence[Claim], published: dict[str, dict] | None = None
) -> pd.DataFrame:
    """The published estimate of each claim beside that of this run.

    Index claim; columns published, this run (texts), inside (does this run's value lie in the
    published interval?) and apart (have the two intervals no value in common?), both "yes", "no" or
    "" where there is no interval. Empty unless the chapter was published for these very weights.
    """
    published = read_published() if published is None else published
    record = published.get(chapter)
    columns = ["published", "this run", "inside", "apart"]
    if record is None or record["origin"]["model"] != fingerprint(locate(model)):
        return pd.DataFrame(columns=columns, index=pd.Index([], name="claim"))
    theirs = {claim["claim"]: claim for claim in record["claims"]}
    rows = {}
    for mine in as_records(list(claims)):
        if his := theirs.get(mine["claim"]):
            rows[mine["claim"]] = (his["estimate"], mine["estimate"], *_agreement(mine, his))
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("claim")


def _agreement(mine: dict, his: dict) -> tuple[str, str]:
    if None in (his["low"], his["high"], mine["value"]):
        return "", ""
    inside = _yes(his["low"] <= mine["value"] <= his["high"])
    if None in (mine["low"], mine["high"]):
        return inside, ""
    return inside, _yes(mine["high"] < his["low"] or his["high"] < mine["low"])


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def verdict(table: pd.DataFrame) -> str:
    """One sentence about a table of `beside`."""
    if not len(table):
        return NOTHING
    known, far = table[table.inside != ""], apart(table)
    inside = (known.inside == "yes").sum()
    text = f"{inside} of {len(known)} numbers lie inside the published intervals; "
    if far:
        return text + (
            f"in {len(far)} the two intervals have no value in common, as may happen where a run"
            f" takes few concepts: {'; '.join(far)}."
        )
    return text + "no two intervals are apart."


def apart(table: pd.DataFrame) -> list[str]:
    """The claims of a table of `beside` whose two intervals have no value in common."""
    return list(table.index[table.apart == "yes"])


def other_weights(
    chapter: str, claims: Sequence[Claim], published: dict[str, dict] | None = None
) -> pd.DataFrame:
    """The published claims of a chapter beside the same claims about another model.

    Index claim; columns shipped and other (estimates), verdict of each, and same: whether the two
    verdicts are, "yes" or "no". Empty where the chapter was not published.
    """
    published = read_published() if published is None else published
    theirs = {c["claim"]: c for c in published.get(chapter, {"claims": []})["claims"]}
    columns = ["shipped", "its verdict", "other", "other's verdict", "same"]
    rows = {
        c.claim: (
            his["estimate"],
            his["verdict"],
            c.estimate,
            c.verdict,
            _yes(his["verdict"] == c.verdict),
        )
        for c in claims
        if (his := theirs.get(c.claim))
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("claim")
