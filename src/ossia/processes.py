"""Child processes that may be killed: in their own process group, with a minimal environment.

What is spawned here inherits no secret, does not import from the working directory and hears no
Ctrl-C at the terminal. A child that outlives us sees the end of its input, or its own limit.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_MODULE_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
_POLL_SECONDS = 0.01


def inherited_environment(names: Iterable[str]) -> dict[str, str]:
    """The variables of these names, of those that are set; a child gets no others."""
    return {name: os.environ[name] for name in names if name in os.environ}


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int | None = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own.

    Args:
        command: program and arguments; no shell reads them.
        env: its whole environment.
        cwd: its working directory; by default ours.
        stdin: as `subprocess.Popen` takes it.
        stdout: the same.
        stderr: the same; None inherits ours.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        command, env=dict(env), cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr,
        start_new_session=True,
    )  # fmt: skip


async def spawn_async(
    command: Sequence[str], *, env: Mapping[str, str], cwd: str | None = None, max_line_bytes: int
) -> "Process":
    """The same for an event loop, with three pipes.

    Args:
        command: see `spawn`.
        env: see `spawn`.
        cwd: see `spawn`.
        max_line_bytes: longest line that can be read from its output.

    Raises:
        OSError: it cannot be started.
    """
    import asyncio

    pipe = subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, env=dict(env), cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe,
        limit=max_line_bytes, start_new_session=True,
    )  # fmt: skip


def spawn_module(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start one of our modules, found where this one was found; its errors go nowhere."""
    env = inherited_environment(_MODULE_VARIABLES)
    sources = str(Path(__file__).parents[1])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (sources, env.get("PYTHONPATH"))))
    return spawn([sys.executable, "-P", "-m", module, *arguments], env=env)


def run_module(
    module: str, *arguments: str, content: bytes, timeout_seconds: float
) -> subprocess.CompletedProcess[bytes]:
    """Run one of our modules to its end.

    Args:
        module: its name.
        arguments: of its command line.
        content: its standard input.
        timeout_seconds: killed after so long.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    with spawn_module(module, *arguments) as process:
        try:
            output, _ = process.communicate(content, timeout_seconds)
        except BaseException:
            kill_group(process)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def signal_group(leader: int, sign: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal to a child and all it started; one that is gone hears nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(leader, sign)
        else:
            os.killpg(leader, sign)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child with all it started, and wait until it is gone; its pipes stay open."""
    signal_group(process.pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    process.wait()


async def end_group(process: "Process", grace_seconds: float) -> None:
    """Close a child's input, wait, then end it and whatever it started.

    Args:
        process: from `spawn_async`.
        grace_seconds: until it is told to go, and from there until it is killed.
    """
    import asyncio

    assert process.stdin is not None
    with contextlib.suppress(OSError, RuntimeError):
        process.stdin.close()
    try:
        for sign in (signal.SIGTERM, None):
            if await _has_ended(process, grace_seconds):
                break
            if sign is not None:
                signal_group(process.pid, sign)
    finally:  # also when the wait is cancelled, as a second Ctrl-C does
        signal_group(process.pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await process.wait()
    finally:
        # A pipe that is full, or held by another, never comes to its end; nothing public closes it.
        process._transport.close()  # type: ignore[attr-defined]


async def _has_ended(process: "Process", seconds: float) -> bool:
    """Not by `wait`, which also waits for whoever else holds its pipes."""
    import asyncio

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                await asyncio.sleep(_POLL_SECONDS)
    return process.returncode is not None


def limit_memory(megabytes: int) -> None:
    """Bound this process's address space, where the system can, and leave no core file."""
    if sys.platform == "win32":  # pragma: no cover - it has no such limits
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # pragma: no branch - others do not enforce it
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
