"""Weights prepared ahead, checked and deleted from the command line."""

import json
import os
from pathlib import Path

import pytest

from ossia.checkpoint.prepared import prepared_files
from ossia.model import loading
from ossia.ops.cpu import CpuOps


@pytest.fixture
def _tiled(monkeypatch):
    """A backend that tiles, for which every model is worth a file."""
    monkeypatch.setattr(loading, "SMALLEST_FILE", 0)
    for where in ("ossia.ops.select", "ossia.chat.llm"):
        monkeypatch.setattr(f"{where}.select_ops", lambda name, options: CpuOps(weights="int8"))


def prepare(ossia, *args):
    ran = ossia("prepare", *args, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.usefixtures("_tiled")
def test_what_is_prepared_is_checked_and_removed(ossia, folder, home):
    made = prepare(ossia, "-m", folder)
    (path,) = prepared_files(home / "cache")
    assert (made["done"], made["path"]) == ("prepared", str(path))
    assert 0 < made["bytes"] < path.stat().st_size
    assert prepare(ossia, "-m", folder) == made
    assert prepare(ossia, "-m", folder, "--verify") == made | {"done": "verified"}
    assert "verified" in ossia("prepare", "-m", folder, "--verify").out
    assert prepare(ossia, "-m", folder, "--remove")["bytes"] > made["bytes"]
    assert prepared_files(home / "cache") == []


@pytest.mark.usefixtures("_tiled")
def test_a_command_uses_what_was_prepared(ossia, folder, tmp_path):
    where = ("-m", folder, "--prepared-folder", tmp_path / "p")
    prepare(ossia, *where)
    (path,) = prepared_files(tmp_path / "p")
    before = path.stat().st_mtime_ns
    few = ("--max-tokens", 5, "--seed", 1, "--json")
    prepared = ossia("run", "Hi", *where, *few)
    assert prepared.code == 0, prepared.err
    assert path.stat().st_mtime_ns == before
    anew = ossia("run", "Hi", *where, "--no-prepare", *few)
    assert json.loads(anew.out)["text"] == json.loads(prepared.out)["text"]


@pytest.mark.usefixtures("_tiled")
def test_a_command_prepares_unless_told_not_to(ossia, folder, home):
    few = ("-m", folder, "--max-tokens", 1)
    assert ossia("run", "Hi", *few, "--no-prepare").code == 0
    assert prepared_files(home / "cache") == []
    assert ossia("run", "Hi", *few).code == 0
    assert len(prepared_files(home / "cache")) == 1


@pytest.mark.usefixtures("_tiled")
def test_damage_is_found_and_said_in_one_line(ossia, folder, home):
    prepare(ossia, "-m", folder)
    (path,) = prepared_files(home / "cache")
    os.truncate(path, path.stat().st_size - 1)
    ran = ossia("prepare", "-m", folder, "--verify")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "cut short" in ran.err
    again = ossia("run", "Hi", "-m", folder, "--max-tokens", 1)
    assert "cut short" in again.err
    assert "it is made again" in again.err
    assert prepare(ossia, "-m", folder, "--verify")["done"] == "verified"


@pytest.mark.usefixtures("_tiled")
def test_what_is_not_there_is_not_verified(ossia, folder):
    ran = ossia("prepare", "-m", folder, "--verify")
    assert ran.code == 1
    assert "is not there" in ran.err


@pytest.mark.usefixtures("_tiled")
def test_a_folder_that_cannot_be_is_refused_in_one_line(ossia, folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ran = ossia("prepare", "-m", folder, "--prepared-folder", tmp_path / "file" / "x")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "cannot be written" in ran.err


@pytest.mark.usefixtures("_tiled")
def test_what_cannot_be_deleted_is_told_in_one_line(ossia, folder, home, monkeypatch):
    def refused(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    prepare(ossia, "-m", folder)
    monkeypatch.setattr(Path, "unlink", refused)
    ran = ossia("prepare", "-m", folder, "--remove")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "cannot be written: Permission denied" in ran.err


def test_the_embedded_model_needs_no_file(ossia, home):
    assert prepare(ossia)["done"] == "nothing"
    assert ossia("run", "Hi", "--max-tokens", 1).code == 0
    assert not (home / "cache").exists()


def test_checking_and_deleting_at_once_makes_no_sense(ossia):
    ran = ossia("prepare", "--verify", "--remove")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
