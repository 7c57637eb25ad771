"""Parses patches in the format that gpt-oss was trained to write.

Checks the format only; whether files exist and lines match is checked elsewhere.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

MAX_PATCH_CHARS = 1 << 20
MAX_SECTIONS = 200
MAX_HUNKS = 1000
"""Limit of hunks in one patch: each may search a whole file."""

BEGIN, END = "*** Begin Patch", "*** End Patch"
_ADD, _DELETE, _UPDATE = "*** Add File:", "*** Delete File:", "*** Update File:"
_MOVE, _END_OF_FILE, _HUNK = "*** Move to:", "*** End of File", "@@"

Mark = Literal[" ", "-", "+"]
Path = tuple[str, ...]
"""Path components from the root down; never `..`, never empty."""


class PatchRefused(Exception):
    """The patch is refused; the message is for the model."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Consecutive lines of a file and their replacement."""

    anchors: tuple[str, ...] = ()
    """Anchors: lines before the hunk, in this order."""
    lines: tuple[tuple[Mark, str], ...] = ()
    at_end: bool = False
    """Whether its last line is the file's last."""

    @property
    def old(self) -> list[str]:
        """The lines expected in the file."""
        return [text for mark, text in self.lines if mark != "+"]


@dataclass(frozen=True, slots=True)
class AddFile:
    """A new file with these lines."""

    path: Path
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """A file to delete."""

    path: Path


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """A file to edit, and to rename if `move_to` is set."""

    path: Path
    move_to: Path | None = None
    hunks: tuple[Hunk, ...] = ()


Section = AddFile | DeleteFile | UpdateFile


def read_patch(text: str) -> tuple[Section, ...]:
    """Parse a patch.

    Args:
        text: the patch, or JSON that holds it as its only string.

    Raises:
        PatchRefused: it is no patch; the message names line and remedy.
    """
    if len(text) > MAX_PATCH_CHARS:
        raise PatchRefused(f"the patch has {len(text)} characters, more than {MAX_PATCH_CHARS}")
    lines = _lines(_unwrapped(text))
    if not lines or lines[0].rstrip() != BEGIN:
        raise PatchRefused(f"a patch begins with the line {BEGIN}")
    if len(lines) < 2 or lines[-1].rstrip() != END:
        raise PatchRefused(f"a patch ends with the line {END}")
    reader = _PatchReader()
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            reader.take(line)
        except PatchRefused as error:
            raise PatchRefused(f"line {number} of the patch: {error}") from None
    return reader.finished()


def _unwrapped(text: str) -> str:
    """Extract the patch, also from JSON around it."""
    text = text.strip()
    if text.startswith(BEGIN):
        return text
    try:
        strings = _strings(json.loads(text), depth=4)
    except (ValueError, RecursionError):
        return text
    return strings[0].strip() if len(strings) == 1 else text


def _strings(value: Any, *, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth == 0 or not isinstance(value, dict | list):
        return []
    parts = value.values() if isinstance(value, dict) else value
    return [found for part in parts for found in _strings(part, depth=depth - 1)]


def _lines(text: str) -> list[str]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PatchRefused("the patch holds half a character (a lone surrogate)") from None
    if "\0" in text:
        raise PatchRefused("the patch holds a NUL character; binary files are not patched")
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    return text.split("\n")


def _path(text: str) -> Path:
    """Split a path into components; refuses one that leads out of the folder."""
    text = text.strip()
    if text.startswith(("/", "~")):
        raise PatchRefused(f"{text!r:.200} is not a path relative to the folder")
    names = tuple(name for name in text.split("/") if name not in ("", "."))
    if ".." in names:
        raise PatchRefused(f"{text!r:.200} leads out of the folder; leave .. out")
    if not names or text.endswith("/"):
        raise PatchRefused(f"{text!r:.200} names no file")
    if not text.isprintable():
        raise PatchRefused(f"the path {text!r:.200} holds characters that cannot be seen")
    return names


_OPENINGS: tuple[tuple[str, Callable[[Path], Section]], ...] = (
    (_ADD, AddFile),
    (_DELETE, DeleteFile),
    (_UPDATE, UpdateFile),
)


class _PatchReader:
    """Parses the lines between Begin and End."""

    def __init__(self) -> None:
        self._sections: list[Section] = []
        self._open: Section | None = None
        self._added: list[str] = []
        self._hunks: list[Hunk] = []
        self._num_hunks = 0
        self._anchors: list[str] = []
        self._lines: list[tuple[Mark, str]] = []
        self._at_end = False
        self._blank = 0  # lines without even a space: context, unless the hunk ends with them

    def take(self, line: str) -> None:
        """Parse one line."""
        for opening, begin in _OPENINGS:
            if line.startswith(opening):
                self._end_section()
                self._open = begin(_path(line.removeprefix(opening)))
                return
        if isinstance(self._open, UpdateFile):
            self._in_update(self._open, line)
        elif isinstance(self._open, AddFile) and line.startswith("+"):
            self._added.append(line[1:])
        elif line.strip():
            adds = isinstance(self._open, AddFile)
            expected = "a line that begins with +" if adds else f"a section, such as {_ADD} name"
            raise PatchRefused(f"found {line!r:.200}, expected {expected}")

    def finished(self) -> tuple[Section, ...]:
        """Return all sections; refuses an empty patch."""
        self._end_section()
        if not self._sections:
            raise PatchRefused(f"the patch is empty; write a section, such as {_UPDATE} name")
        return tuple(self._sections)

    def _in_update(self, section: UpdateFile, line: str) -> None:
        if line.startswith(_MOVE):
            if section.move_to or self._hunks or self._lines or self._anchors:
                raise PatchRefused(f"{_MOVE} stands once, right below {_UPDATE}")
            self._open = replace(section, move_to=_path(line.removeprefix(_MOVE)))
        elif line.startswith(_HUNK):
            self._end_hunk()
            anchor = line.removeprefix(_HUNK).removeprefix(" ")
            self._anchors += [anchor] if anchor.strip() else []
        elif self._at_end and line:
            raise PatchRefused(f"found {line!r:.200} behind {_END_OF_FILE}")
        elif line.rstrip() == _END_OF_FILE:
            self._at_end, self._blank = True, 0
        elif not line:
            self._blank += 1
        else:
            self._add_line(line)

    def _add_line(self, line: str) -> None:
        self._lines += [(" ", "")] * self._blank
        self._blank = 0
        match line[0]:
            case " " | "-" | "+" as mark:
                self._lines.append((mark, line[1:]))
            case _:
                raise PatchRefused(
                    f"found {line!r:.200}; a line of a hunk begins with a space, - or +"
                )

    def _end_hunk(self) -> None:
        """A hunk of anchors alone continues: the next hunk is below them."""
        self._blank = 0
        if self._lines or self._at_end:
            self._num_hunks += 1
            if self._num_hunks > MAX_HUNKS:
                raise PatchRefused(f"a patch has at most {MAX_HUNKS} hunks; make several patches")
            self._hunks.append(Hunk(tuple(self._anchors), tuple(self._lines), self._at_end))
            self._anchors, self._lines, self._at_end = [], [], False

    def _end_section(self) -> None:
        section = self._open
        if isinstance(section, UpdateFile):
            self._end_hunk()
            if self._anchors or not (self._hunks or section.move_to):
                raise PatchRefused(f"{'/'.join(section.path)} is to be updated without any lines")
            section = replace(section, hunks=tuple(self._hunks))
        elif isinstance(section, AddFile):
            section = replace(section, lines=tuple(self._added))
        self._sections += [section] if section else []
        if len(self._sections) > MAX_SECTIONS:
            raise PatchRefused(f"a patch has at most {MAX_SECTIONS} files; make several patches")
        self._open, self._added, self._hunks = None, [], []
