"""Folders that the browser searches."""

import json
import stat

import pytest

from ossia.tools.browser.corpus import Corpus


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Apples\n\nred or green")
    (folder / "b.txt").write_text("pears")
    return folder


def test_a_folder_is_indexed_and_refreshed(ossia, notes):
    ran = ossia("index", notes)
    assert (ran.code, ran.out) == (0, "notes: 2 added, 0 changed, 0 removed, 0 unchanged\n")
    (notes / "c.txt").write_text("plums")
    assert ossia("index").out == "notes: 1 added, 0 changed, 0 removed, 2 unchanged\n"


def test_the_index_is_its_owners_alone(ossia, notes, home):
    ossia("index", notes)
    path = home / "state" / "corpus.sqlite3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    corpus = Corpus.open(path)
    assert [hit.url for hit in corpus._search("apples", 5)] == ["corpus://notes/a.md"]
    corpus.close()


def test_folders_are_listed(ossia, notes):
    assert "nothing is indexed" in ossia("index", "--list").out
    ossia("index", notes, "--name", "fruit", "--private")
    assert ossia("index", "--list").out == f"fruit        2 pages  {notes}  (private)\n"
    found = json.loads(ossia("index", "--list", "--json").out)
    assert found == {
        "folders": [{"name": "fruit", "folder": str(notes), "private": True, "pages": 2}]
    }


@pytest.mark.parametrize("by_name", [True, False])
def test_a_folder_is_forgotten(ossia, notes, by_name):
    ossia("index", notes)
    ran = ossia("index", "--remove", *(["--name", "notes"] if by_name else [notes]))
    assert ran.out == "notes: 2 pages removed\n"
    assert "nothing is indexed" in ossia("index", "--list").out
    assert (notes / "a.md").exists()


def test_what_is_left_out_is_said(ossia, notes):
    for number in range(12):
        (notes / f"{number}.pdf").write_bytes(b"no pdf")
    ran = ossia("index", notes)
    assert ran.code == 0
    assert "0.pdf left out: " in ran.err
    assert "2 more left out" in ran.err
    assert len(json.loads(ossia("index", "--json").out)["folders"][0]["left_out"]) == 12


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no-such-folder"], "is not a folder"),
        ([], "nothing is indexed yet"),
        (["--remove", "--name", "x"], "no folder is indexed as x"),
        (["--remove", "x"], "x is not indexed"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(ossia, arguments, problem):
    ran = ossia("index", *arguments)
    assert ran.code == 1
    assert problem in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--list", "x"], ["--remove"], ["--remove", "x", "--name", "y"], ["--private"],
     ["--name", "x"], ["--remove", "--private", "x"]],
)  # fmt: skip
def test_wrong_usage_is_said(ossia, arguments):
    assert ossia("index", *arguments).code == 2


def test_a_folder_that_cannot_be_written_is_named(ossia, notes, home):
    home.write_text("a file where a folder should be")
    ran = ossia("index", notes)
    assert ran.code == 1
    assert "cannot be written" in ran.err
