"""Folders for results are made and proved; Google Drive is mounted where there is one."""

import sys
import types
from pathlib import Path

import pytest

from whitebear import files as folders
from whitebear.book.report.numbers import save_numbers
from whitebear.errors import UserError
from whitebear.files import check_writable
from whitebear.models.load import locate


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """As on Colab: a module that mounts, here into a temporary folder."""
    mounted = []

    def mount(where):
        if Path(where).is_dir() and any(Path(where).iterdir()):
            raise ValueError("Mountpoint must not already contain files")
        mounted.append(where)
        (Path(where) / "MyDrive").mkdir(parents=True)

    drive = types.SimpleNamespace(mount=mount, mounted=mounted)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.drive", drive)
    monkeypatch.setattr(folders, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(folders, "_on_colab", lambda: True)
    monkeypatch.setattr(folders.os.path, "ismount", lambda path: str(path) in mounted)
    return drive


def test_a_folder_in_drive_mounts_it_once(colab, tmp_path):
    output = tmp_path / "drive" / "MyDrive" / "white-bear"
    assert check_writable(output) == output and output.is_dir()
    save_numbers(output, "03_told_to_forget", rate=1)
    assert colab.mounted == [str(tmp_path / "drive")]


def test_another_folder_mounts_nothing(colab, tmp_path):
    check_writable(tmp_path / "results")
    assert not colab.mounted


def test_elsewhere_nothing_is_mounted(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "DRIVE", tmp_path / "drive")
    assert check_writable(tmp_path / "drive" / "MyDrive").is_dir()  # a folder like any other


def test_a_drive_that_is_not_allowed_is_one_clear_line(colab, tmp_path):
    def refuse(where):
        raise ValueError("mount failed")

    colab.mount = refuse
    with pytest.raises(UserError, match="Drive cannot be mounted .mount failed.; run the cell"):
        check_writable(tmp_path / "drive" / "MyDrive" / "white-bear")
    assert not (tmp_path / "drive").exists()


def test_drive_is_mounted_where_a_folder_of_its_name_was_made_before(colab, tmp_path):
    (tmp_path / "drive").mkdir()
    check_writable(tmp_path / "drive" / "MyDrive" / "white-bear")
    assert colab.mounted == [str(tmp_path / "drive")]


def test_drive_is_not_mounted_over_files(colab, tmp_path):
    output = tmp_path / "drive" / "MyDrive" / "white-bear"
    output.mkdir(parents=True)
    with pytest.raises(UserError, match="move what is in .*drive elsewhere: it cannot be mounted"):
        check_writable(output)


def test_a_folder_that_only_looks_like_drive(colab, tmp_path):
    for made in (False, True):
        output = tmp_path / "gdrive" / "MyDrive" / "white-bear"
        output.mkdir(parents=True) if made else None
        with pytest.raises(UserError, match="not mounted there, .*give one in .*drive/MyDrive"):
            check_writable(output)
    colab.mounted.append(str(tmp_path / "gdrive"))  # somebody mounted it there
    assert check_writable(output) == output


@pytest.mark.parametrize("home", ["~", "$HOME"])
def test_the_home_folder_can_be_abbreviated(home, tmp_path, monkeypatch, tiny_pipeline_dir):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert check_writable(f"{home}/wb") == tmp_path / "wb"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wb"]
    (tmp_path / "models").symlink_to(tiny_pipeline_dir.parent)
    model = f"{home}/models/{tiny_pipeline_dir.name}"
    assert locate(model) == tiny_pipeline_dir.resolve()


def test_the_home_folder_of_nobody():
    with pytest.raises(UserError, match="no home folder ~nobody-here; give the whole path"):
        check_writable("~nobody-here/wb")
