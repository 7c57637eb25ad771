"""Opens the files of a checkpoint safely, and writes files atomically.

It does not know what stands in them, beyond that some are JSON.
"""

import os
import reprlib
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ossia.errors import CheckpointError
from ossia.files import atomic_write
from ossia.strict_json import parse_strict


def inside(folder: Path, name: str) -> Path:
    """Return the path `folder/name`, after checking that no link leads out of the folder.

    A link may lead within the folder, or to the blobs of the Hugging Face cache that the folder
    belongs to (`snapshots/REVISION/` beside `blobs/`); nowhere else.

    Raises:
        CheckpointError: the file is missing, or a link leads out.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
        roots = [folder.resolve(strict=True)]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; fetch the whole checkpoint again") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a ring of links, before Python 3.13
        raise CheckpointError(f"{path} cannot be reached: {error}") from error
    for parent in roots[0].parents[:2]:  # the folder is a snapshot, or the `original/` in one
        if parent.name == "snapshots":
            roots.append((parent.parent / "blobs").resolve())
    if not any(real.is_relative_to(root) for root in roots):
        raise CheckpointError(
            f"{path} is a link that leads out of its folder, to {real}; "
            "copy that file here, or give the folder in which it lies"
        )
    return path


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a device, FIFO, socket or folder is refused unopened.

    Raises:
        CheckpointError: it is missing, unreadable, or something other than a regular file.
    """
    try:
        _refuse_irregular(path, os.stat(path).st_mode)
        # The file may have been replaced since: never block on a FIFO, check again once open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        raise CheckpointError(f"{path} cannot be opened: {_reason(error)}") from error
    file = os.fdopen(descriptor, "rb")
    try:
        _refuse_irregular(path, os.fstat(descriptor).st_mode)
    except CheckpointError:
        file.close()
        raise
    return file


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read one JSON object of at most `max_bytes` bytes.

    Raises:
        CheckpointError: not a regular file, too large, or not strict JSON (see `parse_json`).
    """
    with open_regular(path) as file:
        text = file.read(max_bytes + 1)
    if len(text) > max_bytes:
        raise CheckpointError(
            f"{path} is larger than {max_bytes} bytes; this is not a file of a gpt-oss checkpoint"
        )
    return parse_json(text, str(path))


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """Parse one JSON object, strictly: UTF-8, every key once, no NaN or Infinity.

    Args:
        text: the bytes; the caller has bounded their number.
        where: what the bytes are, for the message.

    Raises:
        CheckpointError: anything else.
    """
    try:
        value = parse_strict(text.decode("utf-8"))
    except ValueError as error:  # also bad UTF-8 and numbers of 5,000 digits
        raise CheckpointError(
            f"{where} is not valid JSON ({str(error)[:200]}); fetch the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {type(value).__name__}, not an object")
    return value


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Write a file atomically and durably.

    Yields:
        A temporary file in the same folder; renamed over `path` when the block ends well.

    Raises:
        CheckpointError: the folder is not writable, the disk is full.
    """
    try:
        with atomic_write(path, is_private=False) as file:
            yield file
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {_reason(error)}; free space or choose another folder"
        ) from error


def drop_cached(path: Path, first: int, count: int) -> None:
    """Advise the system to drop these bytes of a file from its cache, if supported."""
    if sys.platform == "linux":
        with open_regular(path) as file:
            os.posix_fadvise(file.fileno(), first, count, os.POSIX_FADV_DONTNEED)


def prefetch(path: Path, pieces: Iterable[tuple[int, int]]) -> None:
    """Advise the system to read small parts of a file into its cache, if supported.

    A disk reads many queued pieces in the time of a few sequential ones.

    Args:
        path: of the file.
        pieces: first byte and number of bytes; of large ones only a beginning is read.
    """
    if sys.platform == "linux":
        with open_regular(path) as file:
            for first, count in pieces:
                os.posix_fadvise(file.fileno(), first, count, os.POSIX_FADV_WILLNEED)


def short(name: object) -> str:
    """Quote a name or value from a file for a message: escaped, on one line, truncated."""
    brief = reprlib.Repr()  # unlike repr(), bounded in depth too
    brief.maxstring = brief.maxother = 100
    return brief.repr(name)


def some(names: Iterable[str]) -> str:
    """List the first three names, and the number of the others."""
    listed = sorted(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(short(name) for name in listed[:3]) + more


def _refuse_irregular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(mode), "device")
        raise CheckpointError(f"{path} is a {kind}, not a regular file; put the real file there")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
