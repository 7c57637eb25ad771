"""The tool that edits files: applies a patch below one folder, atomically.

Turns a patch into file changes; finding lines and replacing files are elsewhere.
"""

import asyncio
import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as DiskPath

from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS
from ossia.tools.patch.file_changes import (
    Change,
    NotUndone,
    TextBytes,
    carry_out,
    new_file,
    safe_open,
)
from ossia.tools.patch.match import patched
from ossia.tools.patch.parse import AddFile, DeleteFile, PatchRefused, Path, Section, read_patch
from ossia.tools.tool import Approval, Tool, ToolResult, ToolSpec

MAX_FILE_BYTES = 4 << 20
MAX_TOTAL_BYTES = 32 << 20
"""Limit of all files of a patch, which are in memory until every hunk matches."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

DESCRIPTION = """\
Change files. The text is a patch between the lines `*** Begin Patch` and `*** End Patch`.
A patch has sections; each opens with one of:
*** Add File: path      (a new file; each of its lines follows with + before it)
*** Delete File: path
*** Update File: path   (then `*** Move to: new path` to rename it, then hunks)
A hunk opens with `@@`, or `@@ line` to say below which line it stands. Its lines begin with a
space (stays), - (goes) or + (comes). `*** End of File` after a hunk ties it to the file's end.
Paths are relative. Either all of a patch is applied or nothing."""


class ApplyPatch:
    """A toolkit with one tool, functions.apply_patch; by default each patch needs approval."""

    def __init__(self, root: DiskPath, *, approval: Approval = "ask") -> None:
        """Offer to edit the files below a folder.

        Args:
            root: no patch reaches anything outside of it.
            approval: ask and always require approval of each patch; never lets labels decide.
        """
        self._root = root
        self._approval = approval
        self._lock = threading.Lock()
        self.specs: tuple[ToolSpec, ...] = (
            ToolSpec(
                name=f"{FUNCTIONS}.apply_patch",
                description=DESCRIPTION,
                input_format="text",
                labels=frozenset(("external_effect", "reads_private")),
                approval=approval,
            ),
        )

    async def open(self) -> "PatchSession":
        """Begin a conversation.

        Raises:
            RequestError: the folder cannot be opened, or this system has no safe way to.
        """
        if os.open not in os.supports_dir_fd:
            raise RequestError("apply_patch needs folders opened by handle; use Linux or macOS")
        try:
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RequestError(
                f"apply_patch cannot open {self._root}: {error.strerror}; name a folder that exists"
            ) from None
        return PatchSession(handle, self._lock, self.specs[0], asks=self._approval != "never")


class PatchSession:
    """A session that keeps the folder open."""

    def __init__(self, root: int, lock: threading.Lock, spec: ToolSpec, *, asks: bool) -> None:
        self._patcher = _Patcher(spec, root, lock)
        self._asks = asks

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The one tool."""
        return (self._patcher,)

    def needs_approval(self, name: str, arguments: str) -> bool:
        """Whether a patch needs approval: always, unless the operator set never."""
        return self._asks

    async def close(self) -> None:
        """Close the folder."""
        await asyncio.to_thread(self._patcher.close)


class _Patcher:
    def __init__(self, spec: ToolSpec, root: int, lock: threading.Lock) -> None:
        self.spec = spec
        self._root: int | None = root
        self._lock = lock

    async def call(self, arguments: str) -> ToolResult:
        """Apply a patch; see `Tool.call`."""
        return await asyncio.to_thread(self._apply, arguments)

    def close(self) -> None:
        """Close the folder after the running patch."""
        with self._lock:
            if self._root is not None:
                os.close(self._root)
            self._root = None

    def _apply(self, text: str) -> ToolResult:
        with self._lock:  # two conversations may share the folder
            if self._root is None:
                return ToolResult(text="error: apply_patch was closed", is_error=True)
            try:
                plan = _planned(self._root, read_patch(text))
                left = carry_out(self._root, plan.changes)
            except PatchRefused as error:
                return _failed(str(error))
            except NotUndone as error:
                return ToolResult(text=f"error: {error}", is_error=True)
            except OSError as error:
                return _failed(f"{error.filename or 'the disk'}: {_plain(error)}")
        done = "\n".join(("applied:", *plan.summary))
        remark = f"\nplease remove by hand: {', '.join(left)}" if left else ""
        return ToolResult(text=done + remark, details={"changed": list(plan.summary)})


@dataclass(frozen=True, slots=True)
class _Plan:
    changes: tuple[Change, ...]
    summary: tuple[str, ...]


def _planned(root: int, sections: Sequence[Section]) -> _Plan:
    """Every file's bytes after the patch; nothing is written yet."""
    changes: list[Change] = []
    summary: list[str] = []
    for section in sections:
        name = "/".join(section.path)
        try:
            changes += _changes(root, section)
        except PatchRefused as error:
            raise PatchRefused(f"{name}: {error}") from None
        except OSError as error:
            raise PatchRefused(f"{name}: {_plain(error)}") from None
        if isinstance(section, AddFile | DeleteFile):
            summary.append(f"{'A' if isinstance(section, AddFile) else 'D'} {name}")
        else:
            to = f" -> {'/'.join(section.move_to)}" if section.move_to else ""
            summary.append(f"{'R' if to else 'M'} {name}{to}")
        if sum(len(change.content or b"") for change in changes) > MAX_TOTAL_BYTES:
            raise PatchRefused(f"the files have over {MAX_TOTAL_BYTES} bytes; make several patches")
    path, times = Counter(change.path for change in changes).most_common(1)[0]
    if times > 1:
        raise PatchRefused(f"{'/'.join(path)} is named twice; give each file one section")
    return _Plan(tuple(changes), tuple(summary))


def _changes(root: int, section: Section) -> list[Change]:
    if isinstance(section, AddFile):
        _refuse_existing(root, section.path)
        return [Change(section.path, new_file(section.lines), None)]
    content, seen = _read(root, section.path)
    if isinstance(section, DeleteFile):
        return [Change(section.path, None, seen)]
    if section.hunks:
        text = TextBytes.read(content)
        content = text.after(patched(text.lines, section.hunks))
    if section.move_to in (None, section.path):
        return [Change(section.path, content, seen, like=seen)]
    assert section.move_to is not None
    _refuse_existing(root, section.move_to)
    return [Change(section.move_to, content, None, like=seen), Change(section.path, None, seen)]


def _read(root: int, path: Path) -> tuple[bytes, os.stat_result]:
    """A file's bytes, and its identity, to detect later changes."""
    handle = safe_open(root, path, _READ)
    try:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode):
            raise PatchRefused("it is not a plain file")
        if seen.st_size > MAX_FILE_BYTES:
            raise PatchRefused(f"it has {seen.st_size} bytes, more than {MAX_FILE_BYTES}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1), seen
    finally:
        os.close(handle)


def _refuse_existing(root: int, path: Path) -> None:
    """Refuse a name that is taken, and a path through something that is not a folder."""
    try:
        handle = safe_open(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except PermissionError:
        raise PatchRefused(f"{'/'.join(path)} may not be opened") from None
    os.close(handle)
    raise PatchRefused(f"{'/'.join(path)} is there already; update it, or delete it first")


def _failed(what: str) -> ToolResult:
    line = " ".join(what.split())
    return ToolResult(text=f"error: nothing was changed: {line}", is_error=True)


def _plain(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "there is no such file"
        case errno.ELOOP:
            return "it is a link, or lies behind one; links are not followed"
        case errno.ENOTDIR:
            return "a part of its path is a link or no folder"
        case _:
            return error.strerror or str(error)
