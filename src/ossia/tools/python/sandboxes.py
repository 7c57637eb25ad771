"""The sandboxes for an interpreter: limits, what it sees of the disk, and how it is started.

Builds the commands of sandboxes; `self_test` finds out whether they hold.
"""

import ctypes
import json
import os
import platform
import shutil
import site
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ossia.tools.python import landlock
from ossia.tools.python.seccomp import AUDIT_ARCH, filter_for

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one interpreter and of one cell."""

    wall_seconds: float = 120.0
    """Time limit of a cell, which the tool description states."""
    cpu_seconds: float = 60.0
    """CPU time limit of a cell, summed over its processes."""
    address_bytes: int = 2048 * MIB
    """Address space of each process."""
    rss_bytes: int = 1024 * MIB
    """Memory of all processes together, checked five times a second."""
    processes: int = 32
    descriptors: int = 128
    file_bytes: int = 64 * MIB
    data_bytes: int = 256 * MIB
    """Size limit of /mnt/data."""
    temporary_bytes: int = 64 * MIB
    """Size limit of temporary files, and again of shared memory."""
    files: int = 65_536
    """Limit of files per folder: an empty file uses memory too."""
    code_bytes: int = 256 << 10
    output_bytes: int = 1 * MIB
    """A cell that writes more is stopped."""
    grace_seconds: float = 2.0
    """Seconds from the interrupt to the kill."""
    niceness: int = 10
    """Niceness of cells, from 0 to 19, so that the engine goes first."""


SYSTEM = ("/usr", "/lib", "/lib64", "/bin")
"""Programs and libraries of the system; the last three are often links into the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPython:
    """A Python installation: its program, and folders beyond the system's."""

    executable: str
    folders: tuple[str, ...]
    """Folders to read and execute, besides `SYSTEM`."""
    packages: tuple[str, ...]
    """Folders of installed packages; their `.pth` files are ignored."""

    @classmethod
    def here(cls) -> "InstalledPython":
        """The running Python, with the packages installed in it."""
        executable = os.path.realpath(sys.executable)
        packages = tuple(map(os.path.realpath, filter(os.path.isdir, site.getsitepackages())))
        wanted = (os.path.realpath(sys.base_prefix), *packages)
        folders: list[str] = []
        for folder in wanted:
            if not _is_inside(folder, (*SYSTEM, *folders)):
                folders.append(folder)
        return cls(executable=executable, folders=tuple(folders), packages=packages)

    def why_not(self) -> str | None:
        """Why its folders would expose too much of the disk; None: they do not."""
        home = os.path.realpath(Path.home())
        for folder in self.folders:
            if _is_inside(home, (folder,)):
                return f"Python's own folder is {folder}, which holds more than Python"
        return None


def _is_inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


Sandbox = Literal["bubblewrap", "landlock", "seatbelt", "container", "unsandboxed"]
SANDBOXES: tuple[Sandbox, ...] = ("bubblewrap", "landlock", "seatbelt", "container")
"""Best first; the operator's container last, since it must be named."""
LABELS: Mapping[str, str] = {
    "bubblewrap": "full",
    "landlock": "reduced",
    "seatbelt": "reduced",
    "container": "operator's",
    "unsandboxed": "NONE",
}
REMEDY = (
    "install bubblewrap (apt install bubblewrap, dnf install bubblewrap), or use Linux 6.12 or "
    "newer with Landlock, or name a container command"
)
DRIVER = (Path(__file__).parent / "driver.py").read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """Folders and limits of one interpreter; created by the launcher."""

    executable: str
    folders: Mapping[str, str]
    """Folders it sees beyond the system's: where they belong, and where they are to be had."""
    packages: tuple[str, ...]
    scratch: Path
    """An empty folder of its own on the disk of the host; for sandboxes without mounts."""
    user: int | None
    limits: Limits
    container: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchCommand:
    """The command that starts an interpreter in its sandbox."""

    command: tuple[str, ...]
    folder: str
    """The path that the driver uses as /mnt/data."""
    environment: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[int, ...] = ()
    """Descriptors that the command inherits; the caller closes them afterwards."""
    before: Callable[[], None] | None = None
    """Run in the new process, before the command."""
    packages: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    """Bounded mounts, as seen inside."""


def why_not(sandbox: Sandbox, container: tuple[str, ...]) -> str | None:
    """What a sandbox lacks here, if that is known without trying it."""
    is_linux = sys.platform == "linux"
    has_filter = is_linux and platform.machine() in AUDIT_ARCH
    match sandbox:
        case "bubblewrap" if not has_filter:
            return "bubblewrap needs Linux on x86-64 or 64-bit ARM"
        case "bubblewrap" if shutil.which("bwrap") is None:
            return "the program bwrap is not installed"
        case "landlock" if not has_filter or landlock.version() < 1:
            return "this system has no Landlock (Linux 5.13 or newer, on x86-64 or 64-bit ARM)"
        case "seatbelt" if sys.platform != "darwin":
            return "Seatbelt is macOS's"
        case "container" if not container:
            return "no container command is set"
    return None


def start(sandbox: Sandbox, spec: SandboxSpec) -> LaunchCommand:
    """Build the command that starts an interpreter in a sandbox."""
    ways: dict[Sandbox, Callable[[SandboxSpec], LaunchCommand]] = {
        "bubblewrap": _bubblewrap,
        "landlock": _landlock,
        "seatbelt": _seatbelt,
        "container": _container,
        "unsandboxed": _unsandboxed,
    }
    return ways[sandbox](spec)


def _python(executable: str) -> tuple[str, ...]:
    return (executable, "-I", "-S", "-B", "-u", "-c", DRIVER)


def _environment(home: str, temporary: str) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": temporary,
        "FONTCONFIG_FILE": f"{temporary}/fonts.conf",
        # Each of their threads reserves memory, of which there is little.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def _bubblewrap(spec: SandboxSpec) -> LaunchCommand:
    read_end, write_end = os.pipe()
    os.write(write_end, filter_for(platform.machine()))  # fits a pipe many times over
    os.close(write_end)
    isolation = "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session"
    command = [
        shutil.which("bwrap") or "bwrap",
        *isolation.split(),
        "--cap-drop",
        "ALL",
        "--clearenv",
    ]
    for name, value in _environment("/tmp", "/tmp").items():
        command += ["--setenv", name, value]
    for system in SYSTEM:
        if os.path.islink(system):
            command += ["--symlink", os.readlink(system), system]
        elif os.path.isdir(system):
            command += ["--ro-bind", system, system]
    data, temporary = str(spec.limits.data_bytes), str(spec.limits.temporary_bytes)
    # What --dev makes has no bound, and the root none either: both end up read-only.
    command += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    command += [
        "--size",
        temporary,
        "--tmpfs",
        "/dev/shm",
        "--remount-ro",
        "/dev",
        "--size",
        data,
        "--tmpfs",
        "/mnt/data",
    ]
    command += ["--size", temporary, "--tmpfs", "/tmp"]
    for path, here in spec.folders.items():  # they may lie in /tmp
        command += ["--ro-bind", here, path]
    command += ["--remount-ro", "/", "--seccomp", str(read_end), "--chdir", "/mnt/data", "--"]
    return LaunchCommand(
        command=(*command, *_python(spec.executable)),
        folder="/mnt/data",
        passed=(read_end,),
        packages=spec.packages,
        mounts=("/mnt/data", "/tmp", "/dev/shm"),
    )


def _on_the_host(
    spec: SandboxSpec, before: Callable[[], None] | None, *prefix: str
) -> LaunchCommand:
    """Start without mounts: folders are read at their host paths."""

    def led(path: str) -> str:
        for belongs, here in spec.folders.items():
            if Path(path).is_relative_to(belongs):
                return str(Path(here) / Path(path).relative_to(belongs))
        return path

    temporary, executable = str(spec.scratch / "tmp"), led(spec.executable)
    environment = _environment(temporary, temporary)
    if executable != spec.executable:  # it may look for its library where it was built
        environment["LD_LIBRARY_PATH"] = str(Path(executable).parents[1] / "lib")
    return LaunchCommand(
        command=(*prefix, *_python(executable)),
        folder=str(spec.scratch / "data"),
        environment=environment,
        before=before,
        packages=tuple(map(led, spec.packages)),
    )


def _landlock(spec: SandboxSpec) -> LaunchCommand:
    is_scoped = landlock.version() >= landlock.SCOPE_VERSION
    program = filter_for(platform.machine(), host_files=True, host_signals=not is_scoped)
    read = [Path(each) for each in (*SYSTEM, *spec.folders.values(), "/dev/urandom", "/dev/zero")]
    write = [spec.scratch, Path("/dev/null")]

    def confine() -> None:
        die_with_parent()
        landlock.restrict(read=read, write=write)
        landlock.load_filter(program)

    return _on_the_host(spec, confine)


def _seatbelt(spec: SandboxSpec) -> LaunchCommand:
    policy = profile(read=tuple(spec.folders.values()), write=os.path.realpath(spec.scratch))
    return _on_the_host(spec, None, "/usr/bin/sandbox-exec", "-p", policy)


def _container(spec: SandboxSpec) -> LaunchCommand:
    command = [part.replace("{name}", spec.name) for part in spec.container]
    return LaunchCommand(
        command=(*command, *_python("python3")),
        folder="/mnt/data",
        environment={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    )


def _unsandboxed(spec: SandboxSpec) -> LaunchCommand:
    def before() -> None:
        if sys.platform == "linux":
            die_with_parent()

    return _on_the_host(spec, before)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, ctypes.c_ulong(9))  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


# The Seatbelt profile is written from Apple's published ones and was never run by us: no Mac was at
# hand. The self-test decides there as everywhere.
_FRAMEWORKS = (
    "/usr/lib",
    "/usr/share",
    "/System/Library",
    "/Library/Frameworks",
    "/private/var/db/dyld",
)


def profile(*, read: Sequence[str], write: str) -> str:
    """The profile: some folders to read, one to write, no network, and no second process.

    Args:
        read: folders of Python and of its packages.
        write: the one folder that may be written, its links resolved.
    """
    below = " ".join(f"(subpath {json.dumps(folder)})" for folder in (*_FRAMEWORKS, *read))
    lines = (
        "(version 1)",
        "(deny default)",
        # Without fork there is one process: no bomb, and nothing outlives the one that is killed.
        "(deny process-fork)",
        f"(allow process-exec {below})",
        f"(allow file-read* {below})",
        '(allow file-read-metadata (literal "/") (literal "/private") (literal "/var"))',
        '(allow file-read* file-write-data (literal "/dev/null") (literal "/dev/zero"))',
        '(allow file-read* (literal "/dev/urandom") (literal "/dev/random"))',
        f"(allow file-read* file-write* (subpath {json.dumps(write)}))",
        "(allow sysctl-read)",
        "(allow signal (target self))",
    )
    return "\n".join(lines)
