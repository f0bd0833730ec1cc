"""Model cards, written from what training and the quality command recorded."""

import json
from pathlib import Path

import pandas as pd

from whitebear.files import MODELS, markdown_table

# Names of rows that others read; they stand in published files.
ASKED, UNASKED = "affirm, object present", "omit, object not asked for"
BOTH = "pair, both present"

# What the model must reach before its disobedience means anything (at least, or at most).
TARGETS = {
    "detector balanced accuracy, renders": (">=", 0.995),
    "detector balanced accuracy, renders, worst concept": (">=", 0.97),
    "detector calibration error, renders": ("<=", 0.02),
    "detector balanced accuracy, reconstructions": (">=", 0.99),
    "detector balanced accuracy, reconstructions, worst concept": (">=", 0.97),
    "detector calibration error, reconstructions": ("<=", 0.02),
    "VAE PSNR, dB": (">=", 28),
    ASKED: (">=", 0.95),
    "affirm, worst object": (">=", 0.85),
    UNASKED: ("<=", 0.03),
    BOTH: (">=", 0.80),
    "pair, first minus second": ("within", 0.05),
    "asked colour right": (">=", 0.90),
    "asked background right": (">=", 0.95),
    "asked style right": (">=", 0.95),
    "CLIP R@1 of 100, text to image": (">=", 0.9),
    "CLIP R@1 of 100, image to text": (">=", 0.9),
    "64 images on this CPU, seconds": ("<=", 25),
}
MEETS = {
    ">=": lambda value, target: value >= target,
    "<=": lambda value, target: value <= target,
    "within": lambda value, target: abs(value) <= target,
}
SIGN = {">=": "at least", "<=": "at most", "within": "within ±"}


def quality_table(rows: dict) -> pd.DataFrame:
    """measured, target and met (yes/no) of every row that has a target."""
    table = [
        (
            name,
            rows[name],
            f"{SIGN[op]} {target:g}".replace("± ", "±"),
            MEETS[op](rows[name], target),
        )
        for name, (op, target) in TARGETS.items()
    ]
    frame = pd.DataFrame(table, columns=["measure", "measured", "target", "met"]).set_index(
        "measure"
    )
    return frame.assign(met=frame.met.map({True: "yes", False: "no"}))


def read_quality(pocket: Path) -> dict:
    """The numbers that the quality command left in the model folder."""
    return json.loads((pocket / "quality.json").read_text(encoding="utf-8"))


def markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    rows = [(name, f"{row.measured:g}", row.target, row.met) for name, row in table.iterrows()]
    return markdown_table(("measure", "measured", "target", "met"), rows)


def stage(recipe: dict) -> str:
    """'3,900 steps of 32 at 0.0015'."""
    return f"{recipe['steps']:,} steps of {recipe['batch']} at learning rate {recipe['lr']:g}"


def later(continued: list[dict]) -> str:
    """'denoiser, 9,000 steps of 32 at learning rate 0.001, 57 min on a CPU', or 'nothing'."""
    runs = [
        f"{run['stage']}, {stage(run)}, {run['seconds'] / 60:.0f} min on {run['hardware']}"
        for run in continued
    ]
    return "; ".join(runs) or "nothing"


def write_cards(models: Path, out: Path) -> None:
    """Fill the templates of data/models/cards from the records in `models`/pocket.

    Writes `out`/pocket/README.md and `out`/detector/README.md.
    """
    about = json.loads((models / "pocket" / "training.json").read_text(encoding="utf-8"))
    rows, recipe, seconds = read_quality(models / "pocket"), about["recipe"], about["seconds"]
    table = quality_table(rows)
    of_detector = table.index.str.startswith("detector")
    facts = {
        "parts": ", ".join(f"{name} {n / 1e6:.1f} M" for name, n in rows["parts"].items()),
        "times": ", ".join(f"{name} {value / 60:.0f} min" for name, value in seconds.items()),
        "seconds": seconds,
        "recipe": recipe,
        "stage": {name: stage(value) for name, value in recipe.items() if isinstance(value, dict)},
        "continued": later(about["continued"]),
        "detector_continued": later([r for r in about["continued"] if r["stage"] == "detector"]),
        "about": about,
        "rows": rows,
        "pocket_table": markdown(table[~of_detector]),
        "detector_table": markdown(table[of_detector]),
    }
    for name in ("pocket", "detector"):
        template = (MODELS / "cards" / f"{name}.md").read_text(encoding="utf-8")
        (out / name / "README.md").write_text(template.format(**facts), encoding="utf-8")
