"""The user's own folders and files: private to their owner, written whole or not at all."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

HOME = "OSSIA_HOME"
"""Environment variable: one folder for everything, in place of the system's usual places."""
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
_MAX_STEM_BYTES = 230
"""Of a file's name in that of its temporary file; file systems take 255."""


def state_folder() -> Path:
    """The folder for history and the index; it may not exist yet."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().absolute() / "state"
    import platformdirs

    return platformdirs.user_state_path("ossia", appauthor=False)


def index_path() -> Path:
    """The file of the corpus that the browser searches; it may not exist yet."""
    return state_folder() / "corpus.sqlite3"


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700; existing ones stay as they are.

    Raises:
        OSError: one cannot be created.
    """
    for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        with suppress(FileExistsError):  # another process was faster
            each.mkdir()
            each.chmod(PRIVATE_FOLDER)  # mkdir's mode would be subject to the umask
        sync_folder(each.parent)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def private_file(folder: Path, name: str) -> Path:
    """Create a file, if it is missing, in a folder; both become private to their owner.

    Raises:
        OSError: the folder or the file cannot be created or written.
    """
    make_private_folder(folder)
    folder.chmod(PRIVATE_FOLDER)
    path = folder / name
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE))
    path.chmod(PRIVATE_FILE)
    return path


@contextmanager
def atomic_write(path: Path, *, is_private: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears under its name complete and on disk, or not at all.

    Args:
        path: of the file; its folder must exist. A file or link that is there is replaced.
        is_private: give it mode 0600, whatever the umask; by default the umask decides.

    Yields:
        A temporary file in the same folder; renamed to `path` when the block ends without error.

    Raises:
        OSError: the folder is not writable, the disk is full.
    """
    stem = os.fsencode(path.name)[:_MAX_STEM_BYTES].decode(errors="ignore")
    partial = path.with_name(f".{stem}.{secrets.token_hex(4)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(partial, flags, PRIVATE_FILE if is_private else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if is_private:
                os.fchmod(descriptor, PRIVATE_FILE)
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):  # renamed already
            partial.unlink()


@contextmanager
def file_lock(
    path: Path, on_wait: Callable[[], None] | None = None, *, is_private: bool = True
) -> Iterator[None]:
    """Exclude other processes, and other users of this lock in this one, for a block.

    The system releases the lock with the process that holds it, however that ends.

    Args:
        path: of the lock file, which stays; its folder must exist.
        on_wait: called once if another holds the lock.
        is_private: create it with mode 0600, so that no other user can hold it.

    Raises:
        OSError: the lock file cannot be opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE if is_private else 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: what was created or renamed there survives a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
