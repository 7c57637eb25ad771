"""Folders on their way into the index."""

import os
import sqlite3
from contextlib import closing

import pytest

from ossia.errors import StoreError
from ossia.tools.browser.corpus import Corpus
from ossia.tools.browser.indexing import MAX_BYTES, Index, Stamp, documents_in


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "My Notes"
    (folder / "sub" / ".git").mkdir(parents=True)
    for name in ("a.txt", "sub/b.md", "sub/c.HTML", "d.png", ".hidden.txt", "sub/.git/x.txt"):
        (folder / name).write_text(f"words of {name}")
    return folder


@pytest.fixture
def index(tmp_path):
    (tmp_path / "index").touch()
    with Index(tmp_path / "index") as index:
        yield index


def counts(done):
    return (done.num_added, done.num_changed, done.num_removed, done.num_unchanged)


def test_documents_are_found_in_all_folders_but_hidden_ones(folder):
    os.symlink("/etc", folder / "link")
    os.symlink("/etc/hostname", folder / "link.txt")
    os.mkfifo(folder / "pipe.txt")
    assert {path for path, _ in documents_in(folder)} == {"a.txt", "sub/b.md", "sub/c.HTML"}


def test_names_that_are_no_text_are_passed_over(folder):
    open(os.fsencode(folder) + b"/\xff.txt", "w").close()
    assert len(list(documents_in(folder))) == 3


def test_a_folder_is_called_by_its_own_name(index, folder):
    assert index.add(folder) == "my-notes"
    assert index.add(folder) == "my-notes"
    [known] = index.folders()
    assert (known.name, known.folder, known.is_private) == ("my-notes", str(folder), False)


@pytest.mark.parametrize("name", ["Big", "a/b", "..", "", "x" * 65, "a b", "é", "-a"])
def test_a_name_is_one_part_of_an_address(index, folder, name):
    if name:
        with pytest.raises(StoreError, match="is not a valid name"):
            index.add(folder, name)
    else:
        assert index.add(folder, name) == "my-notes"


def test_two_folders_have_two_names(index, folder, tmp_path):
    (tmp_path / "other").mkdir()
    index.add(folder, "notes")
    with pytest.raises(StoreError, match="notes is .* already"):
        index.add(tmp_path / "other", "notes")
    with pytest.raises(StoreError, match="is indexed as notes"):
        index.add(folder, "others")


def test_what_is_no_folder_is_refused(index, folder):
    with pytest.raises(StoreError, match="is not a folder"):
        index.add(folder / "a.txt")


def test_a_refresh_reads_only_what_changed(index, folder):
    name = index.add(folder)
    assert counts(index.refresh(name)) == (3, 0, 0, 0)
    assert counts(index.refresh(name)) == (0, 0, 0, 3)
    (folder / "a.txt").write_text("longer words")
    (folder / "new.txt").write_text("new")
    (folder / "sub" / "b.md").unlink()
    assert counts(index.refresh(name)) == (1, 1, 1, 1)
    assert index.folders()[0].num_files == 3


def test_a_change_of_equal_size_is_seen_by_its_time(index, folder):
    name = index.add(folder)
    index.refresh(name)
    (folder / "a.txt").write_text("swords f a.txt")
    os.utime(folder / "a.txt", ns=(1, 1))
    assert counts(index.refresh(name)) == (0, 1, 0, 2)


def test_old_words_of_a_changed_file_are_forgotten(index, folder, tmp_path):
    name = index.add(folder)
    (folder / "a.txt").write_text("zebra")
    index.refresh(name)
    (folder / "a.txt").write_text("giraffe here")
    index.refresh(name)
    corpus = Corpus.open(tmp_path / "index")
    assert corpus._search("zebra", 5) == []
    assert len(corpus._search("giraffe", 5)) == 1
    corpus.close()


def test_files_that_cannot_be_read_are_named_with_a_reason(index, folder):
    (folder / "big.txt").write_bytes(b"x" * (MAX_BYTES + 1))
    done = index.refresh(index.add(folder))
    assert counts(done) == (3, 0, 0, 0)
    assert done.left_out == {"big.txt": f"has {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"}


def test_a_file_that_grew_too_large_is_forgotten(index, folder):
    name = index.add(folder)
    index.refresh(name)
    (folder / "a.txt").write_bytes(b"x" * (MAX_BYTES + 1))
    index.refresh(name)
    assert index.folders()[0].num_files == 2


def test_progress_is_told_of_every_file(index, folder):
    progress = []
    index.refresh(index.add(folder), lambda done, of: progress.append((done, of)))
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_is_forgotten_with_its_pages(index, folder, tmp_path):
    name = index.add(folder)
    index.refresh(name)
    assert index.remove(name) == 3
    assert index.folders() == []
    with closing(Corpus.open(tmp_path / "index")) as corpus:
        assert corpus._search("words", 5) == []
    with pytest.raises(StoreError, match="no folder is indexed"):
        index.remove(name)


def test_a_folder_that_is_gone_keeps_its_pages(index, folder):
    name = index.add(folder)
    index.refresh(name)
    folder.rename(folder.parent / "moved")
    with pytest.raises(StoreError, match="is gone; .*: ossia index --remove --name "):
        index.refresh(name)
    assert index.folders()[0].num_files == 3


def test_private_folders_are_told(index, folder, tmp_path):
    index.add(folder)
    corpus = Corpus.open(tmp_path / "index")
    assert not corpus.reads_private
    index.add(folder, private=True)
    assert corpus.reads_private
    corpus.close()


def test_titles_are_those_of_documents_or_files(index, folder, tmp_path):
    (folder / "t.md").write_text("text\n\n## The title\n")
    index.refresh(index.add(folder))
    corpus = Corpus.open(tmp_path / "index")
    assert {hit.title for hit in corpus._search("words text", 9)} == {
        "a.txt", "b.md", "c.HTML", "The title",
    }  # fmt: skip
    corpus.close()


def test_a_file_of_others_is_left_alone(tmp_path):
    other = tmp_path / "other"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE x (y)")
    before = other.read_bytes()
    with pytest.raises(StoreError, match="not an index of this ossia"):
        Index(other)
    assert other.read_bytes()[100:] == before[100:]
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        Index(tmp_path / "text")


def test_two_cannot_write_at_once(index, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ossia.tools.browser.corpus.BUSY_SECONDS", 0.05)
    name = index.add(folder)
    with Index(tmp_path / "index") as second:
        index._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            second.refresh(name)
        index._connection.execute("ROLLBACK")


def test_a_stamp_is_size_and_time(folder):
    os.utime(folder / "a.txt", ns=(5, 7))
    assert dict(documents_in(folder))["a.txt"] == Stamp(len("words of a.txt"), 7)


def test_room_that_is_free_is_given_back(index, folder, tmp_path):
    name = index.add(folder)
    (folder / "large.txt").write_text("".join(f"word{n} " for n in range(50_000)))
    index.refresh(name)
    full = (tmp_path / "index").stat().st_size
    (folder / "large.txt").unlink()
    index.refresh(name)
    assert (tmp_path / "index").stat().st_size < full / 4
