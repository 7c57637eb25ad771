"""Files that tools gave, put into a folder of the user's choice."""

import os

import pytest

from ossia.cli.given_files import GivenFiles
from ossia.errors import RequestError
from ossia.tools.tool import Attachment


def file(name, content=b"abc"):
    return Attachment(name=name, media_type="text/plain", content=content)


def test_without_a_folder_a_file_is_only_told_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert GivenFiles().told(file("a.txt")) == "a.txt, 3 bytes"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_kept_and_its_path_told(tmp_path):
    files = GivenFiles(tmp_path / "deep" / "out")
    assert files.told(file("a.txt")) == f"{tmp_path / 'deep' / 'out' / 'a.txt'}, 3 bytes"
    assert (tmp_path / "deep" / "out" / "a.txt").read_bytes() == b"abc"


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "a-2.txt").symlink_to(tmp_path / "elsewhere")
    assert GivenFiles(tmp_path).keep(file("a.txt")) == tmp_path / "a-3.txt"
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/x", "x"),
        ("/", "file"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\x1b[2J\n.png", "a__2J_.png"),
        ("x" * 300 + ".png", "x" * 96 + ".png"),
        ("ü.png", "ü.png"),
    ],
)
def test_a_name_leads_nowhere_and_hides_nothing(tmp_path, name, kept):
    folder = tmp_path / "out"
    assert GivenFiles(folder).keep(file(name)) == folder / kept
    assert [each.name for each in folder.iterdir()] == [kept]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(RequestError, match="--files .*a/b: Not a directory"):
        GivenFiles(tmp_path / "a" / "b")


def test_a_file_that_cannot_be_kept_is_told_with_the_reason(tmp_path):
    files = GivenFiles(tmp_path / "out")
    os.rmdir(tmp_path / "out")
    assert files.told(file("a.txt")) == "a.txt, 3 bytes, not kept: No such file or directory"
