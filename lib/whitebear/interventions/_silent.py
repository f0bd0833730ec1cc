"""Prompts that do not mention a concept, for the rows of a grid that do."""

import pandas as pd

from whitebear.files import digest
from whitebear.interventions.method import Drawing
from whitebear.prompts import load_concepts, load_wordings, prompt_grid, web_concepts


def silent_prompts(artist: Drawing, rows: pd.DataFrame) -> list[str]:
    """For each row, a prompt for its seed that does not mention its concept: the first wording of
    `omit`, with another object where the row has one."""
    concepts, seeds = (list(dict.fromkeys(rows[name])) for name in ("concept", "seed"))
    grid = prompt_grid(concepts, ["omit"], [int(s) for s in seeds], free=not artist.pocket)
    first = dict(list(grid.groupby(["concept", "seed"])))
    found = []
    for row in rows.itertuples():
        options = first[row.concept, row.seed]
        alike = options[options.pair == row.pair]
        found.append((alike if len(alike) else options).prompt.iloc[0])
    return found


def state() -> str:
    """Digest of the lists of concepts and wordings that such prompts are made from."""
    lists = load_wordings().to_dict("list"), web_concepts().to_dict("list")
    return digest(*lists, load_concepts().concepts)
