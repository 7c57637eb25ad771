"""Changes of several files below a folder: all of them happen, or none.

Knows bytes, names and handles; what the bytes mean is not known here.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ossia.tools.beneath import open_beneath
from ossia.tools.patch.parse import PatchRefused, Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one name."""

    path: Path
    content: bytes | None
    """None: it goes."""
    seen: os.stat_result | None
    """The file as it was read; None: nothing of that name was there."""
    like: os.stat_result | None = None
    """Whose owner and mode it gets; None: as any new file."""


class NotUndone(Exception):
    """The disk failed twice: while changing, and while putting back. The message says what is."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """A change that is ready to happen."""

    name: str
    folder: int
    new: str | None
    seen: os.stat_result | None


def carry_out(root: int, changes: Sequence[Change]) -> list[str]:
    """Change files; after an error every file is as it was.

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
    """The steps of `carry_out`; each leaves word of how it is undone."""

    def __init__(self, root: int, handles: ExitStack, undo: ExitStack) -> None:
        self._root = root
        self._handles = handles
        self._undo = undo
        self._folders: dict[Path, int] = {}
        self._rubbish: list[tuple[str, int]] = []

    def stage(self, change: Change) -> _Staged:
        """Write what is to come beside the place where it will stand."""
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
        """Put one change in its place."""
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
        """Make it last."""
        for folder in self._folders.values():
            os.fsync(folder)

    def swept(self) -> list[str]:
        """Remove what was kept for undoing; what stays is named."""
        left = []
        for name, folder in self._rubbish:
            try:
                _remove(name, folder)
            except OSError:
                left.append(name)
        return left

    def _appear(self, new: str, name: str, folder: int) -> None:
        """A new name, never in the place of another file."""
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
        """A handle of a folder; folders that are missing are made."""
        if names not in self._folders:
            try:
                handle = open_beneath(self._root, names, _FOLDER)
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
    """A second name for a file that is about to be replaced."""
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
    """What shows that a file is still the one that was read."""
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _own_name() -> str:
    return f".ossia-{secrets.token_hex(8)}"
