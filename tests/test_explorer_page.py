"""What the explorer's page needs to work without Python and without any other host."""

import hashlib
import re

import nbformat
import pytest
import yaml

from whitebear.book.build import staging
from whitebear.errors import UserError
from whitebear.files import ROOT

VENDOR = ROOT / "book/_static/vendor"


def test_the_scripts_of_others_are_the_recorded_ones_with_their_licences():
    sums = (VENDOR / "SHA256SUMS").read_text().splitlines()
    files = [path for kind in ("*.js", "*.woff2", "*.gz") for path in VENDOR.glob(kind)]
    assert {f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in files} == set(sums)
    readme = (VENDOR / "README.md").read_text()
    licences = sorted(p.name for p in VENDOR.glob("*.LICENSE.txt"))
    assert len(licences) == 5 and all(f"({name})" in readme for name in licences)
    made = (VENDOR / "renew.sh").read_text()
    for name, release in re.findall(r"npm `([^`]+)` ([0-9.]+\d)", readme):
        assert f"{name}@{release}" in made
    assert {p.suffix for p in VENDOR.iterdir()} == {
        ".js", ".woff2", ".gz", ".sh", ".md", ".txt", "",
    }  # fmt: skip


def test_widgets_are_shown_by_the_site_itself():
    options = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert list(options["nb_ipywidgets_js"]) == ["vendor/embed.js"]
    assert (ROOT / "book/_static" / "vendor/embed.js").is_file()


def model(name: str, **state) -> dict:
    return {"model_name": name, "state": state}


STATE = {
    "box": model("VBoxModel", children=["IPY_MODEL_slider", "IPY_MODEL_stack"]),
    "slider": model("IntSliderModel", layout="IPY_MODEL_layout"),
    "stack": model("StackModel", children=["IPY_MODEL_frame"]),
    "frame": model("HTMLModel"),
    "layout": model("LayoutModel"),
    "link": model("LinkModel", source=["IPY_MODEL_slider", "value"],
                  target=["IPY_MODEL_stack", "selected_index"]),
    "panel": model("VBoxModel", children=["IPY_MODEL_button"]),
    "button": model("ButtonModel"),
    "dead": model("LinkModel", source=["IPY_MODEL_slider", "value"],
                  target=["IPY_MODEL_button", "value"]),
}  # fmt: skip


def notebook() -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook()
    for shown, tags in (("box", [staging.KEPT]), ("panel", [])):
        view = nbformat.v4.new_output("display_data", {staging.WIDGET: {"model_id": shown}})
        cell = nbformat.v4.new_code_cell(shown, metadata={"tags": tags}, outputs=[view])
        made.cells.append(cell)
    made.metadata["widgets"] = {staging.WIDGET_STATE: {"version_major": 2, "state": STATE}}
    return made


def test_a_page_keeps_stored_widgets_with_all_they_need_and_drops_live_ones():
    page = staging.for_page(notebook())
    assert [len(cell.outputs) for cell in page.cells] == [1, 0]
    kept = page.metadata.widgets[staging.WIDGET_STATE]
    assert set(kept.state) == {"box", "slider", "stack", "frame", "layout", "link"}
    assert kept.version_major == 2


def test_a_page_without_stored_widgets_has_no_state():
    made = notebook()
    made.cells.pop(0)
    assert "widgets" not in staging.for_page(made).metadata


def test_a_stored_widget_without_its_state_is_refused():
    made = notebook()
    made.metadata.pop("widgets")
    with pytest.raises(UserError, match="without its state"):
        staging.for_page(made)


def test_the_live_panel_is_not_on_the_page():
    cells = nbformat.read(ROOT / "notebooks/14_explorer.ipynb", as_version=4).cells
    kept = [cell.source for cell in cells if staging.KEPT in cell.metadata.get("tags", [])]
    assert kept == ["explorer_view.player(drawing)"]
    assert any("has no Python behind it" in cell.source for cell in cells)
