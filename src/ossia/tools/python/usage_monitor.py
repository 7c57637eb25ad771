"""Measures the resources of an interpreter's processes from outside.

Reads /proc (on macOS: `ps`); knows no limits.
"""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """Resource usage of one process group."""

    pids: tuple[int, ...]
    """Ids of living processes."""
    rss_bytes: int
    """Sum of memory; shared memory counts several times."""
    cpu_seconds: float
    """CPU time of living processes and of the children they waited for."""


def usage(group: int) -> ProcessUsage:
    """Add up a process group."""
    if sys.platform == "darwin":
        return _usage_by_ps(group)
    pids, pages, ticks = [], 0, 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(name)) != group:  # much cheaper than to read its state
                continue
        except ProcessLookupError:
            continue
        fields = _stat(name)
        if fields is None or fields[0] in "ZX":
            continue
        pids.append(int(name))
        ticks += sum(map(int, fields[11:15]))
        pages += int(fields[21])
    return ProcessUsage(tuple(pids), pages * PAGE, ticks / TICKS)


def memory_bytes(pids: tuple[int, ...]) -> int:
    """Memory of processes, shared memory counted once; slower than the sum.

    Where the kernel does not say, a process counts with all that it maps.
    """
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            try:
                total += _proportional_bytes(pid)
            except PermissionError:
                fields = _stat(str(pid))
                total += 0 if fields is None else int(fields[21]) * PAGE
    return total


def _proportional_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: str) -> list[str] | None:
    """Fields of /proc/PID/stat behind the name: state, parent, group, ... (man 5 proc)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None  # gone


def children(pid: int) -> list[int]:
    """Its children, on Linux."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    found = []  # a kernel without that file
    for name in filter(str.isdigit, os.listdir("/proc")):
        if (fields := _stat(name)) is not None and int(fields[1]) == pid:
            found.append(int(name))
    return found


def tasks_of(user: int) -> int:
    """Threads of a user's processes, which is what a limit of processes counts."""
    found = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == user and (fields := _stat(entry.name)) is not None:
                    found += int(fields[17])
    return found


def _usage_by_ps(group: int) -> ProcessUsage:
    listing = subprocess.run(
        ["/bin/ps", "-axo", "pid=,pgid=,rss=,time=,stat="], capture_output=True, text=True
    ).stdout
    pids, kilobytes, seconds = [], 0, 0.0
    for line in listing.splitlines():
        pid, its_group, rss, time, state = line.split(None, 4)
        if int(its_group) == group and not state.startswith("Z"):
            pids.append(int(pid))
            kilobytes += int(rss)
            seconds += _seconds(time)
    return ProcessUsage(tuple(pids), kilobytes * 1024, seconds)


def _seconds(time: str) -> float:
    """What ps writes as minutes:seconds or hours:minutes:seconds."""
    total = 0.0
    for part in time.split(":"):
        total = total * 60 + float(part)
    return total


def disk_usage(folder: Path, pids: tuple[int, ...], *, most_files: int) -> tuple[int, int]:
    """Bytes and files of a folder and all below it, with files that are deleted but still open.

    Args:
        folder: not followed out of by links.
        pids: processes that may hold files open.
        most_files: counting ends beyond this many.
    """
    size, count = 0, 0
    for about in _entries(folder):
        size += about.st_blocks * 512
        count += 1
        if count > most_files:
            return size, count
    for pid in pids:
        size += _deleted_bytes(pid)
    return size, count


def _entries(folder: Path) -> Iterator[os.stat_result]:
    waiting = [os.fspath(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(entry.path)
                yield about


def _deleted_bytes(pid: int) -> int:
    size = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                about = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                    size += about.st_blocks * 512
    return size
