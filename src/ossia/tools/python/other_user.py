"""When root starts us: cells run as users of their own, since root is bound by no process limit.

Knows how to show such a user folders that only root may enter; not what runs there.
"""

import contextlib
import ctypes
import os
import pwd
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

FIRST_USER, LAST_USER = 0x30000000, 0x60000000
"""User ids that no system assigns to people, services or containers."""
FIRST_OF_FEW = 61_000
"""In a container that has few: of those that Debian, Fedora and systemd leave unused."""
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18


def users(count: int) -> list[int]:
    """Choose unused user ids, most likely not those of another launcher either."""
    number = FIRST_OF_FEW
    if _is_mapped(LAST_USER):
        number = secrets.choice(range(FIRST_USER, LAST_USER - count * 2, count))
    found: list[int] = []
    while len(found) < count:
        try:
            pwd.getpwuid(number)
        except KeyError:
            found.append(number)
        number += 1
    return found


def _is_mapped(user: int) -> bool:
    """Whether the user namespace of this container maps this id."""
    with contextlib.suppress(OSError), open("/proc/self/uid_map") as file:
        for line in file:
            first, _, length = map(int, line.split())
            if first <= user < first + length:
                return True
    return False


def may_all_enter(path: str) -> bool:
    """Whether unprivileged users can reach and read this path."""
    steps = [Path(path), *Path(path).parents]
    enough = stat.S_IXOTH if not Path(path).is_dir() else stat.S_IXOTH | stat.S_IROTH
    return steps[0].stat().st_mode & enough == enough and all(
        step.stat().st_mode & stat.S_IXOTH for step in steps[1:]
    )


def shown(folders: Sequence[str], view: Path) -> dict[str, str]:
    """Where other users find these folders: as they are, or mounted again below `view`.

    The mounts are this process's and its children's alone, and go with them. Whoever removes
    `view` must call `hidden` before, and never remove what is in it.

    Raises:
        OSError: root may not mount here, as in most containers.
    """
    closed = [folder for folder in folders if not may_all_enter(folder)]
    found = {folder: folder for folder in folders}
    if not closed:
        return found
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWNS), "unshare")
    _checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
    whole = os.fsencode(view)
    _checked(libc.mount(b"none", whole, b"tmpfs", MS_NOSUID, b"size=64k,mode=755"), "mount tmpfs")
    for number, folder in enumerate(closed):
        there = view / f"{number}-{Path(folder).name}"
        there.mkdir()
        there.chmod(0o755)
        target, source = os.fsencode(there), os.fsencode(folder)
        _checked(libc.mount(source, target, None, MS_BIND, None), folder)
        flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID
        _checked(libc.mount(None, target, None, flags, None), folder)
        found[folder] = str(there)
    return found


def hidden(view: Path) -> None:
    """Unmount and remove an empty folder."""
    with contextlib.suppress(OSError):
        if os.path.ismount(view):
            detach = 2  # MNT_DETACH
            _checked(ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(view), detach), "umount")
        view.rmdir()  # only if nothing is in it


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
