"""What is put right in the pages that Jupyter Book wrote, and what is left as it is."""

import hashlib

import pytest

from whitebear.book.build.pages import mended
from whitebear.files import ROOT

TWO_LINES = """<table><thead><tr><th></th><th>rate</th><th>n</th></tr>
<tr><th>condition</th><th></th><th></th></tr></thead><tbody>
<tr><th>affirm</th><td>96 % [91, 98]</td><td>432</td></tr></tbody></table>"""


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        ('<summary aria-label="Toggle hidden content">Show</summary>', "<summary>Show</summary>"),
        ('<i class="theme-switch" title="Dark"></i>', '<i class="theme-switch"></i>'),
        ('<div id="pst-primary-sidebar"></div>',
         '<div aria-label="Book" id="pst-primary-sidebar" role="complementary"></div>'),
        ('<div role="doc-biblioentry"><a href="#a" role="doc-backlink">A</a></div>',
         '<div role="listitem"><a href="#a">A</a></div>'),
        ("<article><table><tr><td>0 %</td><td>−3 points [−6, −1]</td><td>3 of them</td></tr>"
         "</table></article>",
         '<article><table><tr><td class="wb-number">0 %</td>'
         '<td class="wb-number">−3 points [−6, −1]</td>'
         "<td>3 of them</td></tr></table></article>"),
        ('<article><div class="cell_output"><figure><img alt="x" src="a.png"/>'
         "<figcaption>A</figcaption></figure></div></article>",
         '<article><div class="cell_output"><figure><img alt="x" src="a.png"/>'
         '<figcaption>A<p class="wb-full">'
         '<a href="a.png">Full size</a></p></figcaption></figure></div></article>'),
        ("<p>a &lt; b, “no”</p>", "<p>a &lt; b, “no”</p>"),
    ],
)  # fmt: skip
def test_a_fault_is_put_right(was, is_now):
    assert attributes(mended(was)) == attributes(is_now)


def attributes(html: str) -> list[str]:
    """Pieces of a page, whatever the order of the attributes."""
    return [" ".join(sorted(piece.split(" "))) for piece in html.replace(">", " >\n").split("\n")]


def test_headers_of_the_index_stand_beside_those_of_the_columns():
    page = mended(TWO_LINES)
    assert page.count("<tr>") == 2
    assert '<th scope="col">condition</th><th scope="col">rate</th>' in page
    assert '<th scope="row">affirm</th>' in page


def test_a_corner_without_words_is_no_header():
    page = mended(
        '<table><thead><tr><th></th><th colspan="2">both</th></tr>'
        "<tr><th>wording</th><th>a</th><th>b</th></tr></thead></table>"
    )
    assert '<td></td><th colspan="2" scope="colgroup">both</th>' in page
    assert '<th scope="col">wording</th><th scope="col">a</th>' in page


def test_the_scripts_of_the_tests_are_the_recorded_ones_with_their_licence():
    vendor = ROOT / "tests/vendor"
    sums = (vendor / "SHA256SUMS").read_text().splitlines()
    made = {f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in vendor.glob("*.js")}
    assert made == set(sums)
    readme = (vendor / "README.md").read_text()
    assert "axe-core` 4.14.1" in readme and "axe-core@4.14.1" in (vendor / "renew.sh").read_text()
    assert "Mozilla Public License" in (vendor / "axe.LICENSE.txt").read_text()
