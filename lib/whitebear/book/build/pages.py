"""Pages as Jupyter Book wrote them, mended for readers with a keyboard, a screen reader or a phone.

The theme, docutils and pandas leave names, roles and empty headers that a screen reader trips over;
each is put right here, in the finished HTML, since none of them offers a setting for it. What a
page shows only when it is laid out (which boxes scroll) is left to `book/_static/pages.js`.
"""

import re
from pathlib import Path

from bs4 import BeautifulSoup, Tag

# A number of a table with its unit and interval: it is never broken into lines.
NUMBER = re.compile(r"[+−-]?\d[\d.,]*( %| points)?( \[[^\]]{1,20}\])?")


def mend_site(html: Path) -> None:
    """Mend every page of a built site, in place."""
    for path in sorted(html.rglob("*.html")):
        if "_static" not in path.relative_to(html).parts:
            path.write_text(mended(path.read_text(encoding="utf-8")), encoding="utf-8")


def mended(html: str) -> str:
    """A page with every fault of this module's functions put right.

    >>> mended("<table><thead><tr><th></th><th>rate</th></tr></thead></table>")
    '<table><thead><tr><td></td><th scope="col">rate</th></tr></thead></table>'
    """
    page = BeautifulSoup(html, "html.parser")
    for mend in (name_controls, name_places, list_sources, head_tables, keep_numbers, link_figures):
        mend(page)
    return str(page)


def name_controls(page: BeautifulSoup) -> None:
    """Folds and buttons are called what is written on them, and nothing else."""
    for control in page.select("summary[aria-label], .search-button-field[aria-label]"):
        del control["aria-label"]
    for icon in page.select(".theme-switch[title]"):  # three icons, one of which is seen
        del icon["title"]


def name_places(page: BeautifulSoup) -> None:
    """The column with logo, search and contents is a place that a reader can go to."""
    for sidebar in page.select("div#pst-primary-sidebar"):
        sidebar["role"], sidebar["aria-label"] = "complementary", "Book"


def list_sources(page: BeautifulSoup) -> None:
    """The bibliography is a list of items; the roles that docutils gives are withdrawn ones."""
    for source in page.select("[role=doc-biblioentry]"):
        source["role"] = "listitem"
    for link in page.select("[role=doc-backlink]"):
        del link["role"]


def head_tables(page: BeautifulSoup) -> None:
    """Each header of a table says what it heads; a corner without words is no header."""
    for table in page.select("table"):
        _join_heads(table)
        for cell in table.select("th"):
            if not cell.get_text(strip=True) and not cell.find("img"):
                cell.name = "td"
            else:
                wide, long = cell.has_attr("colspan"), cell.has_attr("rowspan")
                above = cell.find_parent("thead") is not None
                group = "group" if (wide if above else long) else ""
                cell["scope"] = f"{'col' if above else 'row'}{group}"


def _join_heads(table: Tag) -> None:
    """The names of the index, which pandas writes below those of the columns, beside them."""
    rows = [row.find_all("th") for row in table.select("thead > tr")]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]):
        return
    names = [cell.get_text(strip=True) for cell in rows[1]]
    own = [cell.get_text(strip=True) for cell in rows[0]]
    index = next((i for i, name in enumerate(own) if name), len(own))
    if all(names[:index]) and not any(names[index:]):
        for cell, name in zip(rows[0], names[:index], strict=False):
            cell.string = name
        rows[1][0].parent.decompose()


def keep_numbers(page: BeautifulSoup) -> None:
    """Cells that hold a number and its interval are kept on one line: a table scrolls instead."""
    for cell in page.select("article td"):
        if NUMBER.fullmatch(" ".join(cell.get_text().split())):
            cell["class"] = [*cell.get("class", []), "wb-number"]


def link_figures(page: BeautifulSoup) -> None:
    """Under each figure of a notebook, a link to it in full size."""
    for figure in page.select("article .cell_output figure"):
        image, caption = figure.find("img"), figure.find("figcaption")
        if image and caption:
            line = page.new_tag("p", attrs={"class": "wb-full"})
            link = page.new_tag("a", href=image["src"])
            link.string = "Full size"
            line.append(link)
            caption.append(line)
