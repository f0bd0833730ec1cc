"""Stored outputs come from a fresh run, and only check cells have any."""

import nbformat
import pytest

from whitebear.book.build import checks


def small_notebook(path, check="print(6 * 7)"):
    cells = [
        nbformat.v4.new_markdown_cell("# A title"),
        nbformat.v4.new_code_cell("a: int = 1  # a number", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print('noise')"),
        nbformat.v4.new_code_cell(check, metadata={"tags": [checks.CHECK]}),
    ]
    cells[2].outputs = [nbformat.v4.new_output("stream", text="old")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_check_cells_get_fresh_outputs_and_others_none(tmp_path, capsys):
    path = small_notebook(tmp_path / "a.ipynb")
    checks.main([str(path)])
    cells = nbformat.read(path, as_version=4).cells
    assert not cells[2].outputs
    assert (cells[3].outputs[0].text, cells[3].execution_count) == ("42\n", 1)
    assert "1 check cells stored" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["a.ipynb"]


def test_refusals_leave_the_notebook_alone(tmp_path, capsys):
    path = small_notebook(tmp_path / "a.ipynb", check="silent = 1")
    before = path.read_bytes()
    for arguments, line in (([str(path)], "printed nothing"), ([], "give one notebook or more")):
        with pytest.raises(SystemExit) as stop:
            checks.main(arguments)
        assert stop.value.code == 2
        assert line in capsys.readouterr().err
    assert path.read_bytes() == before
