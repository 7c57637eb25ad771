"""The user's own files are the user's alone."""

import stat
from pathlib import Path

import pytest

from ossia.files import private_file, state_folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_one_variable_moves_everything(home):
    assert state_folder() == home / "state"


def test_without_it_the_system_says_where(monkeypatch, tmp_path):
    monkeypatch.delenv("OSSIA_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder().name == "ossia"
    assert tmp_path in state_folder().parents


def test_files_and_folders_are_private(home):
    file = private_file(state_folder(), "history")
    assert (mode(file), mode(file.parent), mode(home)) == (0o600, 0o700, 0o700)


def test_what_was_open_to_all_is_closed(home):
    home.joinpath("state").mkdir(parents=True, mode=0o777)
    home.joinpath("state", "history").write_text("kept")
    file = private_file(state_folder(), "history")
    assert file.read_text() == "kept"
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)


def test_a_place_that_cannot_be_made_is_told(home):
    home.write_text("a file")
    with pytest.raises(OSError, match=str(Path("home"))):
        private_file(state_folder(), "history")
