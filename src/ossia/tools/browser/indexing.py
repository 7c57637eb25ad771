"""Indexes folders of documents, and updates the index when they change.

A file is read again when its size or time has changed. Knows files and tables; searches nothing.
"""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from ossia.errors import MissingExtra, StoreError
from ossia.tools.browser.backend import Failure
from ossia.tools.browser.corpus import corpus_url, open_to_write, refusal
from ossia.tools.browser.documents import Kind, read_apart, read_document
from ossia.tools.browser.page import MAX_TITLE_CHARS, without_marks
from ossia.tools.browser.text import ReadText, one_line

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        ".txt": "text",
        ".text": "text",
        ".rst": "text",
        ".md": "markdown",
        ".markdown": "markdown",
        ".html": "html",
        ".htm": "html",
        ".xhtml": "html",
        ".pdf": "pdf",
    }
)
"""File name suffixes of the documents that are read."""
MAX_BYTES, MAX_PDF_BYTES = 5 << 20, 64 << 20
PDF_SECONDS = 60.0
BATCH = 200
"""Files between two commits, so that an interruption loses little."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_.-]+")

OnProgress = Callable[[int, int], None]
"""Receives the number of files done, and of all files."""


class Stamp(NamedTuple):
    """The stamp of a file, to detect changes."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class IndexedFolder:
    """One folder of the index."""

    name: str
    folder: str
    is_private: bool
    num_files: int


@dataclass(slots=True)
class Refreshed:
    """The result of a refresh."""

    num_added: int = 0
    num_changed: int = 0
    num_removed: int = 0
    num_unchanged: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    """Paths that could not be read, each with the reason."""


class Index:
    """The index, open for writing; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open an index, or create one in an empty file; raises StoreError."""
        self._path = path
        self._connection = open_to_write(path)

    def folders(self) -> list[IndexedFolder]:
        """All folders in it, by name."""
        rows = self._connection.execute(
            "SELECT name, folder, private, (SELECT count(*) FROM files WHERE corpus = name)"
            " FROM corpora ORDER BY name"
        )
        return [IndexedFolder(name, folder, bool(p), count) for name, folder, p, count in rows]

    def add(self, folder: Path, name: str | None = None, *, private: bool = False) -> str:
        """Add a folder, without reading it yet; a folder in the index keeps its name.

        Args:
            folder: of documents.
            name: what its pages are called by: corpus://NAME/path; None: the folder's own.
            private: its content may not leave this computer without approval.

        Returns:
            The name.

        Raises:
            StoreError: it is not a folder, or the name is taken or not valid.
        """
        where = folder.expanduser().resolve()
        if not where.is_dir():
            raise StoreError(f"{folder} is not a folder; choose one that holds documents")
        known = {each.folder: each.name for each in self.folders()}
        name = (
            name or known.get(str(where)) or _NOT_IN_NAMES.sub("-", where.name.lower()).strip("-.")
        )
        if not _NAME.fullmatch(name):
            raise StoreError(
                f"{name!r} is not a valid name; expected letters a to z, digits, dots, dashes: "
                "choose one with --name"
            )
        for each in self.folders():
            if each.name == name and each.folder != str(where):
                raise StoreError(
                    f"{name} is {each.folder} already; choose another name with --name"
                )
            if each.folder == str(where) and each.name != name:
                raise StoreError(f"{where} is indexed as {each.name}; remove that first")
        with self._writing():
            self._connection.execute(
                "INSERT INTO corpora VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET private = excluded.private",
                (name, str(where), private),
            )
        return name

    def remove(self, name: str) -> int:
        """Remove a folder and its pages from the index; the files stay.

        Returns:
            How many pages there were.

        Raises:
            StoreError: there is none of that name.
        """
        if name not in {each.name for each in self.folders()}:
            raise StoreError(f"no folder is indexed as {name}; see: ossia index --list")
        with self._writing():
            numbers = self._connection.execute(
                "SELECT number FROM files WHERE corpus = ?", (name,)
            ).fetchall()
            for [number] in numbers:
                self._forget(number)
            self._connection.execute("DELETE FROM corpora WHERE name = ?", (name,))
        return len(numbers)

    def refresh(self, name: str, on_progress: OnProgress = lambda done, of: None) -> Refreshed:
        """Read new and changed files of a folder, and remove deleted ones.

        Args:
            name: of a folder that was added.
            on_progress: called after every file.

        Raises:
            StoreError: the folder is gone, or the index cannot be written.
        """
        [folder] = [Path(each.folder) for each in self.folders() if each.name == name]
        if not folder.is_dir():
            raise StoreError(
                f"{folder} is gone; bring it back, or remove it: ossia index --remove --name {name}"
            )
        rows = self._connection.execute(
            "SELECT path, number, size, mtime_ns FROM files WHERE corpus = ?", (name,)
        )
        known = {path: (number, Stamp(*stamp)) for path, number, *stamp in rows}
        there = dict(documents_in(folder))
        done = Refreshed()
        changed = [p for p, stamp in there.items() if p not in known or known[p][1] != stamp]
        done.num_unchanged = len(there) - len(changed)
        gone = [number for path, (number, _) in known.items() if path not in there]
        with self._writing():
            for number in gone:
                self._forget(number)
        done.num_removed = len(gone)
        for start in range(0, len(changed), BATCH):
            with self._writing():
                for at, path in enumerate(changed[start : start + BATCH], start + 1):
                    number, _ = known.get(path, (None, None))
                    self._renew(_Entry(name, folder, path, there[path]), number, done)
                    on_progress(at, len(changed))
        self._settle()
        return done

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def _renew(self, entry: "_Entry", number: int | None, done: Refreshed) -> None:
        """Read one file into the index, or remove it if it cannot be read."""
        try:
            read = _read(entry)
        except (Failure, OSError, MissingExtra) as error:
            done.left_out[entry.path] = str(error)
            read = None
        if number is not None:
            self._forget(number)
        if read is None:
            return
        if number is None:
            done.num_added += 1
        else:
            done.num_changed += 1
        file_name = entry.path.rpartition("/")[2]
        title = one_line(read.title, MAX_TITLE_CHARS) or one_line(file_name, MAX_TITLE_CHARS)
        cursor = self._connection.execute(
            "INSERT INTO files (corpus, path, size, mtime_ns, title, marked, links)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.name, entry.path, *entry.stamp, title, read.text, json.dumps(read.links)),
        )
        body = without_marks(read.text).partition("\n\n")[2]  # behind the line with the URL
        self._connection.execute(
            "INSERT INTO pages (rowid, title, body) VALUES (?, ?, ?)",
            (cursor.lastrowid, title, body),
        )

    def _forget(self, number: int) -> None:
        self._connection.execute("DELETE FROM pages WHERE rowid = ?", (number,))
        self._connection.execute("DELETE FROM files WHERE number = ?", (number,))

    def _settle(self) -> None:
        """Merge the log into the one file, as far as readers let us."""
        with self._writing():
            self._connection.execute("INSERT INTO pages (pages) VALUES ('optimize')")
        self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` steps once
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run the block in a transaction."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise refusal(self._path, error) from error


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file to be read."""

    name: str
    folder: Path
    path: str
    stamp: Stamp


def documents_in(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """Documents below a folder: path with slashes, and stamp. Follows no links, skips hidden."""
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            found = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
        except OSError:
            continue  # what may not be listed holds nothing for us
        for entry in found:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith(".") or not _is_text(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_file(follow_symlinks=False) and Path(entry.name).suffix.lower() in KINDS:
                status = entry.stat(follow_symlinks=False)
                yield path, Stamp(status.st_size, status.st_mtime_ns)


def _is_text(path: str) -> bool:
    """Whether a name is valid text: some systems allow any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(entry: _Entry) -> ReadText:
    kind = KINDS[Path(entry.path).suffix.lower()]
    limit = MAX_PDF_BYTES if kind == "pdf" else MAX_BYTES
    if entry.stamp.size > limit:
        raise Failure(f"has {entry.stamp.size} bytes, more than {limit}")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(entry.folder / entry.path, flags), "rb") as file:
        content = file.read(limit)
    url = corpus_url(entry.name, entry.path)
    if kind == "pdf":
        return read_apart(content, kind, url, seconds=PDF_SECONDS)
    return read_document(content, kind, url)
