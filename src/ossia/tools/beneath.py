"""Opens what lies below a folder, and nothing else: no link is followed, no `..` is taken.

Knows handles and names; what they are opened for is not known here.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Sequence

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


def open_beneath(root: int, names: Sequence[str], flags: int) -> int:
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
    return walk_beneath(root, names, flags)


def walk_beneath(root: int, names: Sequence[str], flags: int) -> int:
    """The same by one handle after the other, for systems without openat2."""
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
