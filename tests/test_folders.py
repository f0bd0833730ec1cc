"""Folders for results are made and proved; Google Drive is mounted where there is one."""

import sys
import types
from pathlib import Path

import pytest

from whitebear import files as folders
from whitebear.book.report.numbers import save_numbers
from whitebear.errors import UserError
from whitebear.files import check_writable


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """As on Colab: a module that mounts, here into a temporary folder."""
    mounted = []

    def mount(where):
        mounted.append(where)
        (Path(where) / "MyDrive").mkdir(parents=True)

    drive = types.SimpleNamespace(mount=mount, mounted=mounted)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.drive", drive)
    monkeypatch.setattr(folders, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(folders, "_on_colab", lambda: True)
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
