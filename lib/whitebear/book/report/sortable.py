"""A table that the reader of the page can sort by any column, with the mouse or the keyboard."""

import hashlib
from html import escape

import pandas as pd

# A press on a heading: largest first, smallest first, as it was. What has no value stays last.
SCRIPT = """\
(() => {
  const table = document.getElementById("NAME"), body = table.tBodies[0], rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const said = row.cells[column].dataset.value;
    return said === undefined ? row.cells[column].textContent : said === "" ? null : Number(said);
  };
  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b) : a - b;
  const sort = (column, sign) => {
    const known = rows.filter((row) => value(row, column) !== null);
    const rest = rows.filter((row) => value(row, column) === null);
    known.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    body.append(...(sign ? [...known, ...rest] : rows));
  };
  const next = { none: "descending", descending: "ascending", ascending: "none" };
  const signs = { none: 0, descending: -1, ascending: 1 };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const state = next[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", state);
      sort(column, signs[state]);
    });
  });
})();
"""


class Sortable:
    """A table for an output cell: sortable on the page, plain text where there is no HTML.

    texts: what is shown; values: what its columns are sorted by, numbers, NaN last; a column that
    is not in it is sorted by its text. caption: what the table is, for all readers.

    >>> table = pd.DataFrame({"gone": ["90 %"]}, index=pd.Index(["a"], name="method"))
    >>> html = Sortable(table, pd.DataFrame({"gone": [0.9]}), "Methods")._repr_html_()
    >>> '<td data-value="0.9">90 %</td>' in html
    True
    """

    def __init__(self, texts: pd.DataFrame, values: pd.DataFrame, caption: str):
        self.texts, self.values, self.caption = texts, values, caption

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.texts.to_string()}"

    def _repr_html_(self) -> str:
        name = f"sortable-{hashlib.sha256(self.caption.encode()).hexdigest()[:8]}"
        heads = [str(self.texts.index.name or ""), *map(str, self.texts.columns)]
        head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
        body = "\n".join(self._row(i) for i in range(len(self.texts)))
        return (
            f'<div class="wb-sortable" role="region" tabindex="0" aria-labelledby="{name}-caption">'
            f'\n<table id="{name}"><caption id="{name}-caption">{escape(self.caption)}</caption>\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n"
            f"<script>\n{SCRIPT.replace('NAME', name)}</script>\n</div>"
        )

    def _row(self, i: int) -> str:
        cells = [f'<th scope="row">{escape(str(self.texts.index[i]))}</th>']
        for column, text in self.texts.iloc[i].items():
            known = ""
            if column in self.values:
                number = float(self.values[column].iloc[i])
                known = f' data-value="{"" if pd.isna(number) else f"{number:.6g}"}"'
            cells.append(f"<td{known}>{escape(str(text))}</td>")
        return f"<tr>{''.join(cells)}</tr>"
