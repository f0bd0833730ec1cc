"""`python -m whitebear COMMAND`: every command says what it is, and nothing else is a way in."""

import subprocess

import pytest

from whitebear.__main__ import COMMANDS, main
from whitebear.files import ROOT


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    assert f"python -m whitebear {command}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_all_are_named(arguments, capsys):
    main(arguments)
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in COMMANDS)


def test_an_unknown_command_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as done:
        main(["biuld"])
    assert done.value.code == 2
    assert capsys.readouterr().err == "error: there is no command 'biuld'; did you mean build?\n"


def test_no_text_names_a_module_as_a_command():
    named = ["git", "grep", "-nE", r"python3? -m whitebear\.[a-z]", "--", ".", ":!tests"]
    assert subprocess.run(named, cwd=ROOT, capture_output=True, text=True).stdout == ""
