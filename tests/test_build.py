"""The road from notebooks to pages: what is refused, reused, reported, and never half-done."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from whitebear.book.build import build, execute, publish, side_by_side, staging
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


def test_a_parameter_may_be_left_open():
    """None: the chapter finds the value, such as the steps that the model's authors advise."""
    notebook = toy_notebook()
    notebook.cells[1].source += "\nsteps: int | None = None  # of the authors"
    assert execute.parameters_of(notebook, "toy")["steps"] == "int | None"
    execute.check_parameters(notebook, "toy", {"steps": None})
    execute.check_parameters(notebook, "toy", {"steps": 3})
    for wrong in (True, 2.5, "3"):
        with pytest.raises(UserError, match=r"parameter steps is .* expected int \| None"):
            execute.check_parameters(notebook, "toy", {"steps": wrong})
    with pytest.raises(UserError, match="parameter seeds is None"):
        execute.check_parameters(notebook, "toy", {"seeds": None})


def test_the_limit_of_a_cell_says_how_to_go_on():
    said = execute._reason(execute.CellTimeoutError("", 1, None))
    assert "still running after 60 minutes" in said and "the same command goes on" in said


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
        return execute.reuse_key(notebook, parameters or {"seeds": 2}, execute.Inputs(toy))

    nbformat.write(toy_notebook("from whitebear import a\na.A"), toy / "notebooks/01_toy.ipynb")
    seen = {key()}
    assert key() in seen
    (toy / "lib/whitebear/unused.py").write_text("A = 1\n")
    assert key() in seen, "no cell uses it"
    for path, text in {
        "lib/whitebear/a.py": "A = 2\n",
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


# --- side by side --------------------------------------------------------------------------------


def add_notebooks(toy: Path, **cells: str) -> None:
    """More notebooks for the toy: name -> its only cell."""
    for name, cell in cells.items():
        nbformat.write(toy_notebook(cell), toy / f"notebooks/{name}.ipynb")
    names = sorted(path.stem for path in (toy / "notebooks").glob("*.ipynb"))
    files = [{"file": f"notebooks/{name}"} for name in names]
    toc = {"format": "jb-book", "root": "book/intro", "chapters": files}
    (toy / "_toc.yml").write_text(yaml.safe_dump(toc))


HERE = "from pathlib import Path; import os, time; Path(output).mkdir(exist_ok=True, parents=True)"


def meets(own: str, other: str) -> str:
    """A cell that ends only where another notebook runs at the same time."""
    return f"""{HERE}
Path(output, "{own}").touch()
start = time.monotonic()
while not Path(output, "{other}").exists():
    assert time.monotonic() - start < 60, "alone"
    time.sleep(0.02)"""


def test_chapters_run_side_by_side_with_one_thread_each(toy, monkeypatch):
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    threads = "import torch; assert torch.get_num_threads() == 1"
    add_notebooks(toy, **{"02_a": meets("a", "b"), "03_b": meets("b", "a"), "04_c": threads})
    build.build(toy, "quick")
    assert len(list((toy / "_build/executed").glob("*.ipynb"))) == 4


def test_on_one_core_they_run_one_after_the_other_the_longest_first(toy, monkeypatch):
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    write = HERE + "\nwith open(Path(output, 'order'), 'a') as file: file.write('{}')"
    add_notebooks(toy, **{f"0{i}_{name}": write.format(name) for i, name in enumerate("abcd", 2)})
    (toy / "data/results").mkdir()
    record = {"numbers": {}, "claims": []}
    seconds = {"03_b": {**record, "origin": {"seconds": 5}}}
    (toy / "data/results/published.json").write_text(json.dumps(seconds))
    kept = new_notebook(metadata={"whitebear": {"key": "old", "seconds": 7, "numbers": {}}})
    (toy / "_build/executed").mkdir(parents=True)
    nbformat.write(kept, toy / "_build/executed/04_c.ipynb")
    build.build(toy, "quick")
    assert (toy / "_build/results/quick/order").read_text() == "cbad"


PID = HERE + "\nPath(output, 'pid').write_text(str(os.getpid()))\ntime.sleep(300)"


def await_kernel(toy: Path) -> int:
    """The process id that the sleeping notebook tells."""
    path, start = toy / "_build/results/quick/pid", time.monotonic()
    while not path.exists() or not path.read_text():
        assert time.monotonic() - start < 60
        time.sleep(0.05)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    """Within five seconds: it ended, and at most its parent has not heard yet."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_the_first_failure_stops_the_others(toy, monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    wait = f"{HERE}\nwhile not Path(output, 'pid').exists(): time.sleep(0.05)\n1 / 0"
    add_notebooks(toy, **{"02_a": PID, "03_b": wait, "04_c": "raise SystemError"})
    with pytest.raises(execute.NotebookError, match=r"03_b.ipynb failed in cell 3: ZeroDivision"):
        build.build(toy, "quick")
    assert is_gone(await_kernel(toy))
    assert [path.name for path in (toy / "_build/failed").iterdir()] == ["03_b.ipynb"]
    assert {path.name for path in (toy / "_build/executed").iterdir()} <= {"01_toy.ipynb"}
    assert "04_c" not in capsys.readouterr().out


BUILD = """
import signal
import sys
from pathlib import Path
from whitebear.book.build import build, side_by_side
from whitebear.errors import exit_on_user_error
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
side_by_side.cores = lambda: 2
print(exit_on_user_error(build.build)(Path(sys.argv[1]), "quick"))
"""


def test_ctrl_c_stops_all_kernels_and_the_next_run_goes_on(toy):
    (toy / "book/intro.md").write_text("# Intro\n")
    add_notebooks(toy, **{"02_a": PID})
    command = [sys.executable, "-c", BUILD, str(toy)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    stopped = subprocess.Popen(command, **pipes)
    kernel, first = await_kernel(toy), toy / "_build/executed/01_toy.ipynb"
    while not first.exists():
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=30)
    assert stopped.returncode == 130 and "the same command goes on" in err, err
    assert err.count("\n") == 2 and is_gone(kernel)
    assert [path.name for path in (toy / "_build/executed").iterdir()] == ["01_toy.ipynb"]
    made = first.stat().st_mtime_ns
    add_notebooks(toy, **{"02_a": "y = 1"})
    build.build(toy, "quick")
    assert first.stat().st_mtime_ns == made
    assert (toy / "_build/html/notebooks/02_a.html").is_file()


def test_a_build_that_fails_ends_with_one_line_and_exit_code_2(toy):
    add_notebooks(toy, **{"02_a": "1 / 0"})
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(toy)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: notebook 02_a.ipynb failed in cell 3: ZeroDivisionError")


# --- progress ------------------------------------------------------------------------------------


def test_a_log_has_whole_lines_only_and_one_for_every_tenth(toy, capsys):
    bars = "from tqdm import tqdm\nfor _ in tqdm(range(1000)): pass"
    notebook = toy_notebook(SAVE, bars, *["x = 1"] * 30)
    nbformat.write(notebook, toy / "notebooks/01_toy.ipynb")
    build.build(toy, "quick")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert not err and "\r" not in out
    assert lines[0] == "[1/1] 01_toy ..."
    for tenth, line in zip(range(1, 10), lines[1:10], strict=True):
        assert re.fullmatch(rf"\[1/1\] 01_toy: {tenth}0 %, \d+ s", line)
    assert re.fullmatch(r"\[1/1\] 01_toy: executed in \d+ s", lines[10])
    assert len(lines) == 13  # and two about the site and the whole
    build.build(toy, "quick")
    assert capsys.readouterr().out.startswith("[1/1] 01_toy: unchanged, reused\nsite: unchanged\n")


def test_a_terminal_has_one_bar_for_all_and_a_line_for_each_that_ended():
    code = """
from whitebear.book.build.progress import Bar, progress
told = progress(["01_a", "02_b", "03_c"])
assert type(told) is Bar
told.ended("03_c", "unchanged, reused")
told.started("01_a"); told.started("02_b")
told.reached("01_a", 0.25); told.reached("02_b", 0.5)
told.ended("01_a", "executed in 3 s"); told.ended("02_b", "executed in 4 s")
told.close()
"""
    shown = in_terminal([sys.executable, "-c", code])
    states = [part.strip() for part in re.split(r"[\r\n]+", shown) if part.strip()]
    lines = [state for state in states if state.startswith("[")]
    assert lines == [
        "[3/3] 03_c: unchanged, reused",
        "[1/3] 01_a: executed in 3 s",
        "[2/3] 02_b: executed in 4 s",
    ]
    bars = [state for state in states if "|" in state]
    assert any(bar.startswith("58 %|") and bar.endswith("01_a 25 %, 02_b 50 %") for bar in bars)
    assert bars[-1].startswith("100 %|") and len(lines) + len(bars) == len(states)


def in_terminal(command: list[str]) -> str:
    """What a command shows in a terminal of 100 columns."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    done = subprocess.Popen(command, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # so Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert done.wait() == 0, shown
    return shown.decode()


# --- the site ------------------------------------------------------------------------------------


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


def test_a_page_may_quote_an_answer_in_a_sentence(toy):
    said = "It does [1, 2]. Not always."
    source = SAVE.replace("rate=rate", f"answer={said!r}")
    assert source != SAVE
    nbformat.write(toy_notebook(source), toy / "notebooks/01_toy.ipynb")
    (toy / "book/intro.md").write_text("# Intro\n\n{{ toy_short }} / {{ toy_answer }}\n")
    build.build(toy, "quick")
    text = (toy / "_build/html/book/intro.html").read_text()
    assert f"It does. / {said}" in text


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
    framed = staging.for_page(notebook, "<aside>try it</aside>")
    assert (
        framed.cells[1].source == "<aside>try it</aside>" and framed.cells[2:] == staged.cells[1:]
    )


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
claim = Claim("it is", Estimate(rate, 0.1, 0.9, 4, 2), "so", "4", "control", "yes", "fig-a")
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


def test_make_full_keeps_the_tables_that_numbers_come_from_and_no_older_ones(toy):
    """Every table that the run saved, with its origin; those of an earlier one go."""
    more = CLAIMED.replace("01_toy.parquet", "01_toy_rates.parquet")
    nbformat.write(toy_notebook(SAVE, CLAIMED, more), toy / "notebooks/01_toy.ipynb")
    results = toy / "data/results"
    results.mkdir()
    for old in ("01_toy_old.parquet", "01_toys_other.parquet"):
        pd.DataFrame({"a": [1]}).to_parquet(results / old)
    record = json.loads(publish.publish(toy).read_text())["01_toy"]
    names = ["01_toy.parquet", "01_toy_rates.parquet", "01_toys_other.parquet"]
    assert sorted(path.name for path in results.glob("*.parquet")) == names
    assert pd.read_parquet(results / "01_toy_rates.parquet").attrs == record["origin"]
    (results / "01_toy_rates.parquet").unlink()
    publish.publish(toy)  # lost, and put back without running anything
    assert (results / "01_toy_rates.parquet").is_file()
    nbformat.write(toy_notebook(SAVE, CLAIMED), toy / "notebooks/01_toy.ipynb")
    publish.publish(toy)  # it is saved no more
    assert not (results / "01_toy_rates.parquet").exists()


def test_make_full_runs_nothing_again_because_of_its_own_results(toy, monkeypatch):
    nbformat.write(toy_notebook(SAVE, CLAIMED), toy / "notebooks/01_toy.ipynb")
    (toy / "data/results").mkdir()
    first = publish.publish(toy).read_text()
    assert execute.Inputs(toy).files != execute.Inputs(toy, results=False).files
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
