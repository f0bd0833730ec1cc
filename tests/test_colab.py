"""On Colab: little is installed, the torch that is there never, and one line says what."""

import subprocess
import sys

import pytest

from whitebear.book.build.colab import CHAPTERS, installed, lacking, prepare
from whitebear.errors import UserError
from whitebear.files import ROOT

# As on Colab with Python 3.13, August 2026 (its published list of packages; huggingface_hub: the
# oldest that its transformers accepts).
COLAB = {
    "accelerate": "1.14.0", "diffusers": "0.39.0", "matplotlib": "3.10.0", "numpy": "2.1.3",
    "ipython": "7.34.0", "ipywidgets": "7.7.1",
    "pandas": "2.2.3", "pillow": "11.3.0", "pyarrow": "18.1.0", "safetensors": "0.8.0",
    "scipy": "1.16.3", "seaborn": "0.13.2", "tokenizers": "0.22.2", "torch": "2.11.0+cu128",
    "huggingface_hub": "1.5.0", "tqdm": "4.67.3", "transformers": "5.15.0", "xarray": "2025.12.0",
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What pip is asked for."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def test_colab_lacks_one_package(asked, capsys):
    prepare(ROOT, COLAB.get)
    assert asked == [
        [sys.executable, "-m", "pip", "install", "-q", "resvg_py==0.5.0", "torch==2.11.0+cu128"]
    ]
    (line,) = capsys.readouterr().out.splitlines()
    assert "Kept: torch 2.11.0+cu128, diffusers 0.39.0, transformers 5.15.0." in line
    assert line.endswith("Installed: resvg_py 0.5.0 (not there).")


def test_what_chapters_load_beside_the_library_is_looked_for(asked):
    bare = {name: version for name, version in COLAB.items() if name not in CHAPTERS}
    assert {pin.partition("==")[0] for pin in lacking(ROOT, bare.get)} == set(CHAPTERS)


def test_only_what_is_too_old_is_replaced(asked, capsys):
    prepare(ROOT, (COLAB | {"diffusers": "0.30.1", "resvg_py": "0.5.0"}).get)
    (command,) = asked
    assert [word.partition("==")[0] for word in command[5:]] == ["diffusers", "torch"]
    out = capsys.readouterr().out
    assert "Kept: torch 2.11.0+cu128, transformers 5.15.0." in out
    assert "(0.30.1 is too old)" in out
    assert "diffusers was loaded before: restart the session" in out  # in this process it was


def test_an_old_torch_is_named_and_left_alone(asked):
    for old in ({"torch": "2.5.1+cu121"}, {"torch": None}):
        with pytest.raises(UserError, match="torch is .* needs 2.8 or newer; choose the latest"):
            prepare(ROOT, (COLAB | old).get)
    assert not asked


def test_here_nothing_is_lacking(asked, capsys):
    assert lacking(ROOT) == {}
    prepare(ROOT)
    assert not asked and "Installed: -." in capsys.readouterr().out
    assert installed("no-such-package") is None


def test_a_failed_installation_is_told(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    with pytest.raises(UserError, match="pip could not install"):
        prepare(ROOT, COLAB.get)
