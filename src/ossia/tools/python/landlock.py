"""Landlock, the Linux kernel's own fence: a process gives up what it may open, for ever.

Calls the kernel by ctypes; knows of the sandbox only its folders and filter.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on every machine: linux/landlock.h."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_SPECIAL = (1 << 6) | (1 << 9) | (1 << 10) | (1 << 11)
"""Rights to create devices, sockets and named pipes, which are always refused."""
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
NUM_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Rights over files by version of the interface; 16 from version 5 on."""
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for a single file may grant."""
TCP_VERSION, SCOPE_VERSION = 4, 6
BIND_AND_CONNECT = 3
ABSTRACT_SOCKETS_AND_SIGNALS = 3
PR_SET_NO_NEW_PRIVS = 38


def version() -> int:
    """The version of Landlock in this kernel; 0: missing, or disabled."""
    found: int = _libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(found, 0)


def restrict(*, read: Iterable[Path], write: Iterable[Path]) -> None:
    """Restrict this process to files below some folders, no TCP, and signals within the sandbox.

    Args:
        read: may be read and executed; a path that is not there is passed over.
        write: may be read, written, and have plain files and folders made in them.

    Raises:
        OSError: the kernel refuses; nothing is given up then, or not all.
    """
    spoken = version()
    rights = (1 << NUM_RIGHTS.get(spoken, 16)) - 1
    network = BIND_AND_CONNECT if spoken >= TCP_VERSION else 0
    scoped = ABSTRACT_SOCKETS_AND_SIGNALS if spoken >= SCOPE_VERSION else 0
    attributes = struct.pack("=QQQ", rights, network, scoped)
    attributes = attributes[: 8 if spoken < TCP_VERSION else 16 if spoken < SCOPE_VERSION else 24]
    ruleset = _checked(
        CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    for path in read:
        _allow(ruleset, path, EXECUTE | READ_FILE | READ_DIR)
    for path in write:
        _allow(ruleset, path, rights & ~(MAKE_SPECIAL | EXECUTE | IOCTL_DEV))
    if _libc().prctl(PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(each) for each in (1, 0, 0, 0))):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _checked(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            rights &= FILE_RIGHTS
        rule = struct.pack("=Qi", rights, there)
        number = ctypes.c_int(1)  # LANDLOCK_RULE_PATH_BENEATH
        _checked(ADD_RULE, ctypes.c_int(ruleset), number, rule, ctypes.c_uint32(0))
    finally:
        os.close(there)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(call: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(call), *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock, call {call}: {os.strerror(number)}")
    return result


def load_filter(program: bytes) -> None:
    """Apply a filter of system calls to this process and its children.

    Args:
        program: as `seccomp.filter_for` gives it; needs no_new_privs, which `restrict` sets.

    Raises:
        OSError: the kernel refuses it.
    """
    steps = ctypes.create_string_buffer(program, len(program))
    attributes = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(steps))
    if _libc().prctl(22, ctypes.c_ulong(2), attributes, ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "seccomp")  # PR_SET_SECCOMP, a filter
