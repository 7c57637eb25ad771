"""A cell that tries to break out, and prints what came of each attempt. Stands alone, as `driver`.

`facts` is prepended: what lies outside. A probe returns None if the sandbox held.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

facts: dict[str, Any] = globals().get("facts", {})


def host_file() -> str | None:
    """Read a file of the host."""
    with contextlib.suppress(OSError), open(facts["marker"]) as file:
        return f"{facts['marker']} was read" if facts["word"] in file.read() else None
    return None


def host_processes() -> str | None:
    """See the server in /proc."""
    with contextlib.suppress(OSError), open(f"/proc/{facts['pid']}/cmdline", "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() == facts["cmdline"]:
            return "the server's process can be seen"
    return None


def signals() -> str | None:
    """Reach the server, or the launcher, by a signal."""
    for pid in (facts["pid"], facts["launcher"]):
        try:
            os.kill(pid, 0)
        except OSError:
            continue
        if not os.path.exists(f"/proc/{pid}/stat") or host_processes() is not None:
            return f"process {pid} can be signalled"
    return None


def descriptors() -> str | None:
    """Find an open file that is not ours."""
    for number in range(1024):
        with contextlib.suppress(OSError):
            mode = os.fstat(number).st_mode
            if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
                return f"descriptor {number} is open"
    return None


def tcp() -> str | None:
    """Connect to the host."""
    with contextlib.suppress(OSError), socket.socket() as outside:
        outside.settimeout(0.2)
        outside.connect(("127.0.0.1", facts["tcp"]))
        return "a TCP connection was made"
    return None


def udp() -> str | None:
    """Send to the host; whether it came is seen there."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.sendto(facts["word"].encode(), ("127.0.0.1", facts["udp"]))
    return None


def writing() -> str | None:
    """Write, make, change and remove outside; what came of it is seen there."""
    attempts: tuple[Callable[[], object], ...] = (
        lambda: open(facts["marker"], "a").close(),
        lambda: open(facts["marker"] + ".new", "w").close(),
        lambda: os.chmod(facts["marker"], 0o600),
        lambda: os.utime(facts["marker"], (1, 1)),
        lambda: os.truncate(facts["marker"], 0),
        lambda: os.remove(facts["marker"]),
    )
    for attempt in attempts:
        with contextlib.suppress(OSError):
            attempt()
    return None


def processes() -> str | None:
    """Fork beyond the limit."""
    made = []
    try:
        for _ in range(facts["processes"] * 2 + 8):
            try:
                pid = os.fork()
            except OSError:
                return None
            if pid == 0:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                while True:
                    time.sleep(60)
            made.append(pid)
        return f"{len(made)} processes were made"
    finally:
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def shared_memory() -> str | None:
    """Fill /dev/shm beyond its bound."""
    made, names = 0, [f"/dev/shm/probe-{number}" for number in range(3)]
    for name in names:
        with contextlib.suppress(OSError), open(name, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, facts["shared_bytes"] // 2 + (1 << 20))
            made += facts["shared_bytes"] // 2 + (1 << 20)
    for name in names:
        with contextlib.suppress(OSError):
            os.remove(name)
    return f"{made} bytes fit" if made > facts["shared_bytes"] else None


def namespace() -> str | None:
    """Make a user namespace, where one would be root."""
    if platform.system() != "Linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return "a namespace was made" if libc.unshare(0x10000000) == 0 else None


def io_uring() -> str | None:
    """Use the kernel's other way to call it."""
    if platform.system() != "Linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(425, 1, ctypes.create_string_buffer(256))
    refused = result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
    return None if refused else "io_uring can be set up"


def memory() -> str | None:
    """Take more memory than there is room for."""
    if platform.system() == "Darwin":
        return None  # no such limit there; the launcher looks at what is used
    try:
        taken = bytearray(facts["address_bytes"])
    except MemoryError:
        return None
    return f"{len(taken)} bytes were had"


def works() -> str | None:
    """Do what a cell must be able to do: start a thread, write a file in the data folder."""
    threads = [threading.Thread(target=int) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open("probe.txt", "w") as file:
        file.write("x")
    os.remove("probe.txt")
    return None


PROBES: tuple[Callable[[], str | None], ...] = (
    host_file, host_processes, signals, descriptors, tcp, udp, writing, processes, shared_memory,
    namespace, io_uring, memory, works,
)  # fmt: skip

if facts:
    found = {}
    for probe in PROBES:
        try:
            found[probe.__name__] = probe()
        except Exception as error:
            found[probe.__name__] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
