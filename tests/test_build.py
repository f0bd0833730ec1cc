"""The road from notebooks to pages: what is refused, reused, reported, and never half-done."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from whitebear.book.build import build, execute, publish, staging
from whitebear.book.report.numbers import page_names, save_numbers
from whitebear.errors import UserError

PARAMETERS = """\
seeds: int = 2  # images per cell
rate: float = 0.5
concepts: list[str] = ["bear"]
output: str = "_build/results/test\""""

SAVE = """\
from whitebear.book.report.numbers import save_numbers
_ = save_numbers(output, "01_toy", rate=rate, seeds=seeds)"""


def toy_notebook(*cells: str) -> nbformat.NotebookNode:
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    body = [new_markdown_cell("# Toy\n\nSome prose."), parameters, *map(new_code_cell, cells)]
    for number, cell in enumerate(body):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=body, metadata={"kernelspec": kernel})


@pytest.fixture
def toy(tmp_path) -> Path:
    """A repository with one notebook and one prose page that quotes a number of it."""
    for folder in ("book", "notebooks", "lib/whitebear", "data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "lib/whitebear/a.py").write_text("A = 1\n")
    (tmp_path / "data/a.csv").write_text("a\n1\n")
    (tmp_path / "_config.yml").write_text(
        "title: Toy\nauthor: us\nonly_build_toc_files: true\nexecute: {execute_notebooks: 'off'}\n"
    )
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": "notebooks/01_toy"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    (tmp_path / "book/intro.md").write_text("# Intro\n\nThe rate is {{ toy_rate }}.\n")
    (tmp_path / "book/profiles.yml").write_text("quick:\n  01_toy: {rate: 0.25}\nfull: {}\n")
    nbformat.write(toy_notebook(SAVE), tmp_path / "notebooks/01_toy.ipynb")
    return tmp_path


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(execute.papermill, "execute_notebook", refuse)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"seedz": 2}, r"01_toy.*no parameter 'seedz'.*seeds"),
        ({"seeds": "2"}, r"01_toy.*seeds is '2' \(str\); expected int"),
        ({"seeds": 2.0}, r"seeds is 2.0 \(float\); expected int"),
        ({"seeds": True}, r"seeds is True \(bool\); expected int"),
        ({"rate": "1e-4"}, r"rate is '1e-4' \(str\); expected float"),
        ({"rate": float("nan")}, r"rate is nan; expected only numbers"),
        ({"concepts": "bear"}, r"concepts is 'bear' \(str\); expected list"),
        ({"concepts": [{1, 2}]}, r"concepts is .*; expected only numbers, strings"),
    ],
)
def test_wrong_parameters_are_refused_in_one_line(parameters, said):
    with pytest.raises(UserError, match=said):
        execute.check_parameters(toy_notebook(), "01_toy.ipynb", parameters)


def test_they_are_refused_before_a_kernel_starts(toy, no_kernel):
    (toy / "book/profiles.yml").write_text("quick: {01_toy: {seeds: '2'}}")
    with pytest.raises(UserError, match="expected int"):
        build.build(toy, "quick")
    with pytest.raises(UserError, match="no parameter 'seedz'"):
        execute.execute(toy / "notebooks/01_toy.ipynb", toy / "copy.ipynb", {"seedz": 1})
    assert not (toy / "_build").exists() and not list(toy.glob("copy*"))


def test_an_integer_is_a_float_and_defaults_are_fine():
    execute.check_parameters(toy_notebook(), "toy", {"rate": 1, "concepts": ["a", "b"]})
    assert execute.parameters_of(toy_notebook(), "toy") == {
        "seeds": "int",
        "rate": "float",
        "concepts": "list",
        "output": "str",
    }


@pytest.mark.parametrize("line", ["seeds = 2", "seeds: Path = 2", "print(1)"])
def test_a_parameter_without_a_plain_type_is_refused(line):
    notebook = toy_notebook()
    notebook.cells[1].source += f"\n{line}"
    with pytest.raises(UserError, match="write one `name: type = value`|use one of int"):
        execute.parameters_of(notebook, "toy")


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        ("full: {}", "unknown profile 'quick'; book/profiles.yml has full"),
        ("quick: {09_none: {a: 1}}", "names 09_none, which is not in _toc.yml"),
        ("quick: {01_toy: 3}", "01_toy is 3; give lines of name: value"),
        ("quick: [", "cannot be read"),
    ],
)
def test_profiles_that_cannot_work_are_refused(toy, no_kernel, profiles, said):
    (toy / "book/profiles.yml").write_text(profiles)
    with pytest.raises(UserError, match=said):
        build.build(toy, "quick")


def test_a_page_of_the_toc_must_exist(toy):
    (toy / "notebooks/01_toy.ipynb").unlink()
    with pytest.raises(UserError, match="names notebooks/01_toy, which is neither"):
        staging.toc_notebooks(toy)


# --- execution -----------------------------------------------------------------------------------


def test_a_failed_notebook_is_named_with_its_cell_and_left_to_look_at(toy):
    notebook = toy_notebook("x = 1", "raise ValueError('no bear\\nhere')", "print('never')")
    nbformat.write(notebook, toy / "notebooks/01_toy.ipynb")
    with pytest.raises(execute.NotebookError) as caught:
        build.build(toy, "quick")
    line = str(caught.value)
    assert "01_toy.ipynb failed in cell 4: ValueError: no bear here" in line and "\n" not in line
    half_run = (toy / "_build/failed/01_toy.ipynb").read_text()
    assert "no bear" in half_run
    assert not list((toy / "_build/executed").glob("*"))
    assert not (toy / "_build/html").exists()


def test_a_kernel_that_dies_is_reported_like_any_failure(toy):
    nbformat.write(toy_notebook("import os; os._exit(1)"), toy / "notebooks/01_toy.ipynb")
    with pytest.raises(
        execute.NotebookError, match=r"01_toy.ipynb failed in cell 3: its kernel died"
    ):
        build.build(toy, "quick")
    assert (toy / "_build/failed/01_toy.ipynb").is_file()


def test_an_unbroken_build_is_reused_until_an_input_changes(toy):
    page = build.build(toy, "quick")
    intro = (toy / "_build/html/book/intro.html").read_text()
    assert page.is_file() and "The rate is 0.25." in intro
    executed = toy / "_build/executed/01_toy.ipynb"
    first, built = executed.stat().st_mtime_ns, page.stat().st_mtime_ns
    build.build(toy, "quick")
    assert (executed.stat().st_mtime_ns, page.stat().st_mtime_ns) == (first, built)
    (toy / "data/a.csv").write_text("a\n2\n")
    build.build(toy, "quick")
    assert executed.stat().st_mtime_ns > first


def test_the_key_follows_everything_that_an_execution_depends_on(toy):
    def key(parameters=None):
        notebook = execute.read_notebook(toy / "notebooks/01_toy.ipynb")
        return execute.reuse_key(notebook, parameters or {"seeds": 2}, execute.inputs_digest(toy))

    seen = {key()}
    assert key() in seen
    for path, text in {
        "lib/whitebear/a.py": "A = 2\n",
        "lib/whitebear/new.py": "",
        "data/a.csv": "a\n3\n",
        "data/deep/b.svg": "<svg/>",
        "requirements.txt": "torch==2.12.0\n",
    }.items():
        (toy / path).parent.mkdir(exist_ok=True)
        (toy / path).write_text(text)
        assert key() not in seen, path
        seen.add(key())
    assert key({"seeds": 3}) not in seen
    notebook = execute.read_notebook(toy / "notebooks/01_toy.ipynb")
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="old")]
    nbformat.write(notebook, toy / "notebooks/01_toy.ipynb")
    assert key() in seen, "stored outputs are no input"
    notebook.cells[0].source += " More."
    nbformat.write(notebook, toy / "notebooks/01_toy.ipynb")
    assert key() not in seen


def test_an_interrupted_build_keeps_what_was_finished_and_nothing_half_done(toy, monkeypatch):
    (toy / "book/intro.md").write_text("# Intro\n")
    nbformat.write(toy_notebook("y = 1"), toy / "notebooks/02_toy.ipynb")
    files = [{"file": "notebooks/01_toy"}, {"file": "notebooks/02_toy"}]
    toc = {"format": "jb-book", "root": "book/intro", "chapters": files}
    (toy / "_toc.yml").write_text(yaml.safe_dump(toc))
    real = execute.papermill.execute_notebook

    def stopped_in_the_second(source, partial, **options):
        if "02_toy" in source:
            Path(partial).write_text('{"half": ')
            raise KeyboardInterrupt
        real(source, partial, **options)

    monkeypatch.setattr(execute.papermill, "execute_notebook", stopped_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        build.build(toy, "quick")
    first = (toy / "_build/executed/01_toy.ipynb").stat().st_mtime_ns
    assert not (toy / "_build/executed/02_toy.ipynb").exists()
    monkeypatch.undo()
    build.build(toy, "quick")
    assert (toy / "_build/executed/01_toy.ipynb").stat().st_mtime_ns == first
    assert (toy / "_build/html/notebooks/02_toy.html").is_file()


def test_pages_of_removed_notebooks_do_not_stay(toy):
    build.build(toy, "quick")
    assert (toy / "_build/html/notebooks/01_toy.html").is_file()
    (toy / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (toy / "book/intro.md").write_text("# Intro\n")
    (toy / "book/profiles.yml").write_text("quick: {}\n")
    build.build(toy, "quick")
    assert not (toy / "_build/html/notebooks/01_toy.html").exists()


def test_a_warning_of_sphinx_fails_the_build_and_keeps_the_last_site(toy):
    page = build.build(toy, "quick")
    (toy / "book/intro.md").write_text("# Intro\n\n[gone](nowhere.md)\n")
    with pytest.raises(UserError, match=r"could not be built.*nowhere"):
        build.build(toy, "quick")
    assert page.is_file()


# --- pages ---------------------------------------------------------------------------------------


def test_a_number_that_no_notebook_saved_fails_the_build(toy):
    (toy / "book/intro.md").write_text("# Intro\n\n{{ toy_gone }}\n")
    with pytest.raises(UserError, match=r"intro.md quotes {{ toy_gone }}.*toy_rate"):
        build.build(toy, "quick")


def test_a_number_from_an_older_run_does_not_survive(toy):
    save_numbers(toy / "_build/results/quick", "01_toy", rate=9)
    nbformat.write(toy_notebook("z = 1"), toy / "notebooks/01_toy.ipynb")
    with pytest.raises(UserError, match="toy_rate }}, which no notebook saved"):
        build.build(toy, "quick")


def test_numbers_are_plain_scalars(tmp_path):
    path = save_numbers(tmp_path / "new", "03_a_b", rate=0.5, share="95 %", n=3)
    assert json.loads(path.read_text()) == {"rate": 0.5, "share": "95 %", "n": 3}
    assert page_names("03_a_b", {"rate": 0.5}) == {"a_b_rate": "0.5"}
    with pytest.raises(UserError, match="number bad is"):
        save_numbers(tmp_path, "03_a_b", bad=[1])
    assert [p.name for p in tmp_path.rglob("*.json*")] == ["03_a_b.json"]


def test_a_staged_notebook_shows_results_and_no_machinery():
    notebook = toy_notebook("1")
    notebook.metadata["widgets"] = {"state": {}}
    bar = nbformat.v4.new_output("display_data", {staging.WIDGET: {"model_id": "x"}})
    log = nbformat.v4.new_output("stream", name="stderr", text="10%")
    told = nbformat.v4.new_output("stream", name="stdout", text="a result")
    notebook.cells[2].outputs = [bar, log, told]
    staged = staging.for_page(notebook)
    assert staged.cells[2].outputs == [told]
    assert "hide-input" in staged.cells[1].metadata.tags
    assert "widgets" not in staged.metadata and "widgets" in notebook.metadata


# --- commands ------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_commands_answer_bad_input_with_one_line_and_exit_code_2(toy):
    notebook, copy = str(toy / "notebooks/01_toy.ipynb"), toy / "copy.ipynb"
    for arguments, said in [
        (("whitebear", "build", "--profile", "nope"), "unknown profile 'nope'"),
        (("whitebear", "execute", notebook, str(copy), "seeds=two"), "expected int"),
        (("whitebear", "execute", notebook, str(copy), "colour=red"), "has no parameter 'colour'"),
        (("whitebear", "execute", notebook, notebook), "must be another file"),
        (("whitebear", "execute", str(toy / "none.ipynb"), str(copy)), "does not exist"),
        (("whitebear", "execute", notebook), "give NOTEBOOK COPY"),
    ]:
        done = run(*arguments)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert not copy.exists()


def test_one_notebook_can_be_executed_with_values_of_ones_own(toy):
    copy = toy / "copy.ipynb"
    output = f"output={toy / 'results'}"
    done = run(
        "whitebear", "execute", str(toy / "notebooks/01_toy.ipynb"), str(copy), "rate=1", output
    )
    assert done.returncode == 0 and copy.is_file(), done.stderr
    assert json.loads((toy / "results/01_toy.json").read_text()) == {"rate": 1, "seeds": 2}


# --- publishing ----------------------------------------------------------------------------------

CLAIMED = """\
import pandas as pd
from pathlib import Path
from whitebear.book.report.claim import Claim
from whitebear.stats import Estimate
claim = Claim("it is", Estimate(rate, 0.1, 0.9, 4, 2), "so", "4", "twin", "yes", "fig-a")
save_numbers(output, "01_toy", [claim], rate=rate)
pd.DataFrame({"present": [True]}).to_parquet(Path(output, "01_toy.parquet"));"""


def test_make_full_keeps_numbers_with_their_origin_and_the_pages_may_quote_them(toy):
    nbformat.write(toy_notebook(SAVE, CLAIMED), toy / "notebooks/01_toy.ipynb")
    (toy / "book/profiles.yml").write_text("quick: {}\nfull:\n  01_toy: {rate: 0.75}\n")
    (toy / "data/results").mkdir()
    path = publish.publish(toy)
    record = json.loads(path.read_text())["01_toy"]
    assert record["numbers"] == {"rate": 0.75} and record["claims"][0]["value"] == 0.75
    assert record["origin"]["parameters"] == {"rate": 0.75}
    assert record["origin"]["versions"].startswith("torch ")
    assert pd.read_parquet(toy / "data/results/01_toy.parquet").attrs == record["origin"]
    assert staging.published_numbers(toy) == {"published_toy_rate": "0.75"}


def test_make_full_runs_nothing_again_because_of_its_own_results(toy, monkeypatch):
    nbformat.write(toy_notebook(SAVE, CLAIMED), toy / "notebooks/01_toy.ipynb")
    (toy / "data/results").mkdir()
    first = publish.publish(toy).read_text()
    assert execute.inputs_digest(toy) != execute.inputs_digest(toy, results=False)
    with monkeypatch.context() as patched:
        patched.setattr(execute, "execute", None)
        assert publish.publish(toy).read_text() == first
    (toy / "data/results/why").mkdir()
    for changed in ("data/results/why/cell.json", "data/a.csv"):
        (toy / changed).write_text("a\n2\n")
        with pytest.raises(TypeError), monkeypatch.context() as patched:
            patched.setattr(execute, "execute", None)
            publish.publish(toy)
        publish.publish(toy)


def test_one_chapter_can_be_published_and_no_other_name(toy):
    nbformat.write(toy_notebook(SAVE, CLAIMED), toy / "notebooks/01_toy.ipynb")
    (toy / "data/results").mkdir()
    assert "01_toy" in json.loads(publish.publish(toy, ["01_toy"]).read_text())
    with pytest.raises(UserError, match="there is no chapter '01_toys'; did you mean 01_toy"):
        publish.publish(toy, ["01_toys"])


def test_an_interrupted_command_says_in_one_line_that_it_can_go_on(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["build"])
    for module, name in ((build, "build"), (publish, "publish")):
        monkeypatch.setattr(module, name, interrupted)
        with pytest.raises(SystemExit) as caught:
            module.main()
        assert caught.value.code == 130
        assert "the same command goes on" in capsys.readouterr().err
