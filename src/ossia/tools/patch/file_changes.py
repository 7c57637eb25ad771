"""Changes of several files below a folder: all of them happen, or none.

No link leads out of the folder. Knows bytes, names and handles; not what the bytes mean.
"""

import codecs
import contextlib
import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ossia.tools.patch.match import Patched
from ossia.tools.patch.parse import PatchRefused, Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one file."""

    path: Path
    content: bytes | None
    """The new content; None: delete the file."""
    seen: os.stat_result | None
    """The file as it was read; None: it did not exist."""
    like: os.stat_result | None = None
    """The file whose owner and mode it gets; None: the default."""


class NotUndone(Exception):
    """Both the change and its rollback failed; the message says which files are affected."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """A prepared change."""

    name: str
    folder: int
    new: str | None
    seen: os.stat_result | None


def carry_out(root: int, changes: Sequence[Change]) -> list[str]:
    """Change files; an error rolls every change back.

    Args:
        root: handle of the folder.
        changes: no two of one path.

    Returns:
        Names of our own temporary files that could not be removed; none, as a rule.

    Raises:
        OSError: the disk refused a step; all was undone.
        PatchRefused: a file changed meanwhile; all was undone.
        NotUndone: not all could be undone.
    """
    with ExitStack() as handles:
        undo = ExitStack()
        work = _Work(root, handles, undo)
        try:
            staged = [work.stage(change) for change in changes]
            for each in staged:
                work.happen(each)
            work.settle()
        except BaseException:
            _undo(undo)
            raise
        undo.pop_all()
        return work.swept()


def _undo(undo: ExitStack) -> None:
    try:
        undo.close()
    except OSError as error:
        raise NotUndone(
            f"the disk failed and not all could be put back: {error}; "
            "old versions lie beside their files as .ossia-*"
        ) from error


class _Work:
    """The steps of `carry_out`; each records how to undo it."""

    def __init__(self, root: int, handles: ExitStack, undo: ExitStack) -> None:
        self._root = root
        self._handles = handles
        self._undo = undo
        self._folders: dict[Path, int] = {}
        self._rubbish: list[tuple[str, int]] = []

    def stage(self, change: Change) -> _Staged:
        """Write the new content to a temporary file beside its target."""
        *above, name = change.path
        folder = self._folder(tuple(above))
        new = None
        if change.content is not None:
            new = _own_name()
            handle = os.open(new, _NEW, 0o666, dir_fd=folder)
            self._undo.callback(_remove, new, folder)
            self._rubbish.append((new, folder))
            try:
                _write(handle, change.content, change.like)
            finally:
                os.close(handle)
        return _Staged(name, folder, new, change.seen)

    def happen(self, staged: _Staged) -> None:
        """Apply one change."""
        name, folder = staged.name, staged.folder
        if staged.seen is None:
            assert staged.new is not None
            self._appear(staged.new, name, folder)
            return
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if _marks(now) != _marks(staged.seen):
            raise PatchRefused(f"{name} changed while the patch was being applied; read it again")
        old = _own_name()
        if staged.new is None:
            os.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            _keep(name, old, folder)
        self._rubbish.append((old, folder))
        self._undo.callback(_remove, old, folder)
        self._undo.callback(os.rename, old, name, src_dir_fd=folder, dst_dir_fd=folder)
        if staged.new is not None:
            os.rename(staged.new, name, src_dir_fd=folder, dst_dir_fd=folder)

    def settle(self) -> None:
        """Sync the changes to disk."""
        for folder in self._folders.values():
            os.fsync(folder)

    def swept(self) -> list[str]:
        """Delete the backups; returns those that could not be deleted."""
        left = []
        for name, folder in self._rubbish:
            try:
                _remove(name, folder)
            except OSError:
                left.append(name)
        return left

    def _appear(self, new: str, name: str, folder: int) -> None:
        """Create a new name; never replaces a file."""
        try:
            os.link(new, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise PatchRefused(f"{name} is there already; update it instead") from None
        except OSError:  # a disk without hard links
            if _exists(name, folder):
                raise PatchRefused(f"{name} is there already; update it instead") from None
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        self._undo.callback(_remove, name, folder)

    def _folder(self, names: Path) -> int:
        """Open a folder; creates missing ones."""
        if names not in self._folders:
            try:
                handle = safe_open(self._root, names, _FOLDER)
            except FileNotFoundError:
                above = self._folder(names[:-1])
                os.mkdir(names[-1], dir_fd=above)
                self._undo.callback(_remove_folder, names[-1], above)
                handle = os.open(names[-1], _FOLDER, dir_fd=above)
            self._handles.callback(os.close, handle)
            self._folders[names] = handle
        return self._folders[names]


def _write(handle: int, content: bytes, like: os.stat_result | None) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
    if like is not None:
        here = os.fstat(handle)
        if (here.st_uid, here.st_gid) != (like.st_uid, like.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(handle, like.st_uid, like.st_gid)
        os.fchmod(handle, stat.S_IMODE(like.st_mode))
    os.fsync(handle)


def _keep(name: str, old: str, folder: int) -> None:
    """Link a backup of a file that is about to be replaced."""
    try:
        os.link(name, old, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:  # a disk without hard links
        os.rename(name, old, src_dir_fd=folder, dst_dir_fd=folder)


def _remove(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _remove_folder(name: str, above: int) -> None:
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:  # what others put there meanwhile stays, and its folder with it
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _marks(status: os.stat_result) -> tuple[int, ...]:
    """The identity of a file's content, to detect changes."""
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _own_name() -> str:
    return f".ossia-{secrets.token_hex(8)}"


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class TextBytes:
    """The lines of a file, its line ends and encoding."""

    lines: tuple[str, ...]
    """The lines without their ends."""
    ends: tuple[str, ...]
    """The end of each line; the last one may be empty."""
    encoding: str
    byte_order_mark: bytes
    is_clean: bool
    """Whether all bytes are text of that encoding; others stand in lines as lone surrogates."""

    @classmethod
    def read(cls, content: bytes) -> "TextBytes":
        """Split a file into lines.

        Raises:
            PatchRefused: it is binary.
        """
        mark, encoding = next(
            (found for found in _MARKS if content.startswith(found[0])), (b"", "utf-8")
        )
        raw = content.removeprefix(mark)
        try:
            text, is_clean = raw.decode(encoding), True
        except UnicodeDecodeError:
            if encoding != "utf-8":
                raise PatchRefused("it is damaged UTF-16; patches change text files only") from None
            text, is_clean = raw.decode(encoding, "surrogateescape"), False
        if "\0" in text:
            raise PatchRefused("it is binary; patches change text files only")
        *whole, last = text.split("\n")
        lines = [line.removesuffix("\r") for line in whole]
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in whole]
        if last:
            lines.append(last)
            ends.append("")
        return cls(tuple(lines), tuple(ends), encoding, mark, is_clean)

    def after(self, patched: Patched) -> bytes:
        """Replace lines; a new line gets the most frequent line end.

        Raises:
            PatchRefused: a new line cannot be written in the file's encoding.
        """
        usual = "\r\n" if self.ends.count("\r\n") > len(self.ends) / 2 else "\n"
        lines, ends = [], []
        for each in patched:
            if isinstance(each, int):
                lines.append(self.lines[each])
                ends.append(self.ends[each] or usual)
            else:
                lines.append(each.removesuffix("\r") if usual == "\r\n" else each)
                ends.append(usual)
        if ends and self.ends and not self.ends[-1]:
            ends[-1] = ""
        new = "".join(each for each in patched if isinstance(each, str))
        if not self.is_clean and not new.isascii():
            raise PatchRefused("its encoding is not known, and a new line is not plain ASCII")
        text = "".join(line + end for line, end in zip(lines, ends, strict=True))
        return self.byte_order_mark + text.encode(self.encoding, "surrogateescape")


def new_file(lines: Iterable[str]) -> bytes:
    """The bytes of a file of these lines; it ends with a newline."""
    return "".join(f"{line}\n" for line in lines).encode()


_OPENAT2 = 437
"""The same number on every architecture of Linux, since 5.6."""
_RESOLVE = 0x02 | 0x04 | 0x08
"""RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH (linux/openat2.h)."""
_NOT_HERE = frozenset((errno.ENOSYS, errno.EPERM))
"""An older kernel, or a filter of system calls that does not know this one."""
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def safe_open(root: int, names: Sequence[str], flags: int) -> int:
    """Open a file or folder below a folder; the handle is the caller's to close.

    Args:
        root: handle of the folder.
        names: from the root down; none means the folder itself.
        flags: of `os.open`; nothing is ever created.

    Raises:
        OSError: not there, not allowed, or reached by a link.
    """
    _refuse_steps(names)
    try:
        return _openat2(root, "/".join(names) or ".", flags)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    return safe_open_by_steps(root, names, flags)


def safe_open_by_steps(root: int, names: Sequence[str], flags: int) -> int:
    """Open a path component by component, for systems without openat2."""
    _refuse_steps(names)
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | _PLAIN, dir_fd=root)
    for depth, name in enumerate(names, start=1):
        here = flags if depth == len(names) else os.O_RDONLY | os.O_DIRECTORY
        try:
            below = os.open(name, here | _PLAIN, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _refuse_steps(names: Sequence[str]) -> None:
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise PermissionError(errno.EACCES, "no name of a file", name)


def _openat2(root: int, path: str, flags: int) -> int:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "no openat2")
    how = _OpenHow(flags | _PLAIN, 0, _RESOLVE)
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if handle < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(handle)
