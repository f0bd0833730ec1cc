"""The core for its own sake: light to import, plain without the book's data, its verbs."""

import shutil
import subprocess
import sys

import pytest

import whitebear
from whitebear.files import ROOT

HEAVY = ("matplotlib", "pandas", "pyarrow", "resvg_py", "xarray")


def fresh(code: str, path=ROOT / "lib", fails: bool = False) -> str:
    """What a new interpreter prints that finds the library in `path`."""
    code = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stderr
    return done.stdout if not fails else done.stderr


def test_hooks_load_no_tables_and_no_drawings():
    code = f"import whitebear.hooks\nprint([name for name in {HEAVY} if name in sys.modules])"
    assert fresh(code) == "[]\n"


def test_the_package_itself_loads_nothing():
    code = """
import whitebear
print([name for name in ("torch", "numpy") if name in sys.modules])
print(whitebear.Estimate(0.5, 0.4, 0.6, 8, 2).percent())"""
    assert fresh(code) == "[]\n50 % [40, 60]\n"


def test_the_verbs_are_few_and_explain_themselves_by_example():
    assert len(whitebear.__all__) <= 8 and set(whitebear.__all__) <= set(dir(whitebear))
    for name in whitebear.__all__:
        assert ">>> " in getattr(whitebear, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'picture'"):
        _ = whitebear.picture


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The library as pip would install it: the packages, no data beside them."""
    site = tmp_path_factory.mktemp("python") / "lib" / "site-packages"
    shutil.copytree(ROOT / "lib" / "whitebear", site / "whitebear")
    return site


@pytest.mark.parametrize(
    "use",
    [
        "from whitebear.prompts import load_concepts; load_concepts()",
        "from whitebear.prompts import load_wordings; load_wordings()",
        "from whitebear import prompt_grid; prompt_grid(['bear'], ['affirm'], 1)",
        "from whitebear.models.load import load_pipeline; load_pipeline('pocket')",
        "from whitebear.scoring.detector import Detector; Detector.load()",
    ],
)
def test_without_the_repository_data_of_the_book_say_where_they_are(alone, use):
    error = fresh(use, alone, fails=True).splitlines()[-1]
    assert error.startswith("whitebear.errors.UserError: data/")
    assert "clone https://github.com/whitebear-book/white-bear" in error


def test_without_the_repository_hooks_work(alone):
    code = "import whitebear.hooks; print(whitebear.hooks.__file__)"
    assert fresh(code, alone).strip() == str(alone / "whitebear" / "hooks" / "__init__.py")


def test_hooks_need_neither_tables_on_disk_nor_drawings():
    """A whole capture, from the model to the dataset, where nothing of the extras is installed but
    what comes with xarray (pandas) and diffusers (Pillow, tqdm)."""
    absent = ("accelerate", "matplotlib", "pyarrow", "resvg_py", "scipy", "seaborn", "IPython")
    code = f"""
sys.modules |= dict.fromkeys({absent})  # their import fails, as where they are not installed
from whitebear.hooks import capture_attention, steer_attention
from whitebear.models.load import load_pipeline
pipe = load_pipeline("pocket", "cpu")
cap = capture_attention(pipe, ["bear"], ("mass", "map"))
with steer_attention(pipe, ["bear"], 0.5), cap:
    pipe("a bear", num_inference_steps=1)
print(dict(cap.dataset().mass.sizes)["token"])"""
    assert fresh(code) == "5\n"
