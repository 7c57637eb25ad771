"""The client of the launcher: starts it and awaits its answers."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ossia
from ossia.processes import inherited_environment, kill_group, signal_group, spawn
from ossia.tools.python.sandboxes import InstalledPython, Limits, Sandbox
from ossia.tools.python.wire import Breach, Frames, frame

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from ossia.tools.python.launcher import main; main()"
)
STOP_SECONDS = 10.0


class LauncherGone(Exception):
    """The launcher or the interpreter is dead; handled inside this package."""


class LauncherClient:
    """One launcher process; the client names its interpreters."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: socket.socket) -> None:
        """Use `start`."""
        self._process, self._pipe = process, pipe
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._groups: dict[str, int] = {}
        """Process groups of interpreters, to be killed if the launcher dies."""
        self._writing = asyncio.Lock()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, sandbox: Sandbox, python: InstalledPython, limits: Limits, container: tuple[str, ...]
    ) -> "LauncherClient":
        """Start a launcher.

        Raises:
            LauncherGone: it cannot do its work here; the reason is its text.
        """
        ours, its = socket.socketpair()
        env = {"PATH": os.defpath} | inherited_environment(("PATH", "HOME", "TMPDIR"))
        house = str(Path(ossia.__file__).parents[1])

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-I", "-S", "-B", "-c", _START, house]
            return spawn(
                command, env=env, cwd="/", stdin=its.fileno(), stdout=subprocess.DEVNULL,
                stderr=None,
            )  # fmt: skip

        with its:
            process = await asyncio.to_thread(start)
        ours.setblocking(False)
        found = cls(process, ours)
        started = found.answer("")
        settings = {
            "sandbox": sandbox,
            "executable": python.executable,
            "folders": python.folders,
            "packages": python.packages,
            "container": container,
            "limits": asdict(limits),
        }
        try:
            await found._send(settings)
            answer = await started
            if answer["was"] != "started":
                raise LauncherGone(answer["text"])
        except BaseException:
            await found.close()
            raise
        return found

    @property
    def is_alive(self) -> bool:
        """Whether the launcher is running."""
        return not self._reader.done()

    @property
    def pid(self) -> int:
        """Process id of the launcher."""
        return self._process.pid

    def answer(self, name: str) -> "asyncio.Future[dict[str, Any]]":
        """The next message about an interpreter."""
        assert name not in self._waiting, "one question at a time"
        future = self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._reader.done():
            self._fail()
        return future

    async def ask(self, name: str, message: dict[str, Any]) -> dict[str, Any]:
        """Send a command and await its answer.

        Raises:
            LauncherGone: there is no launcher any more.
        """
        future = self.answer(name)
        await self._send({"id": name, **message})
        return await future

    async def tell(self, name: str, order: str) -> None:
        """Send a command without an answer: interrupt or close."""
        with contextlib.suppress(LauncherGone):
            await self._send({"id": name, "do": order})

    async def close(self) -> None:
        """End it with all its interpreters; idempotent."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._fail()
        self._pipe.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            await asyncio.to_thread(kill_group, self._process)

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with self._writing:
                await asyncio.get_running_loop().sock_sendall(self._pipe, frame(message))
        except OSError as error:
            raise LauncherGone("the launcher of interpreters is gone") from error

    async def _read(self) -> None:
        frames, loop = Frames(), asyncio.get_running_loop()
        try:
            while more := await loop.sock_recv(self._pipe, 1 << 18):
                for message in frames.push(more):
                    self._note(message)
                    future = self._waiting.pop(message["id"], None)
                    if future is not None and not future.done():
                        future.set_result(message)
        except (OSError, Breach):
            pass
        finally:
            self._fail()
        for group in self._groups.values():  # not reached when we close it ourselves
            signal_group(group, signal.SIGKILL)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("group") is not None:
            self._groups[message["id"]] = message["group"]
        elif not message.get("is_alive", False):
            self._groups.pop(message["id"], None)

    def _fail(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LauncherGone("the launcher of interpreters is gone"))
        self._waiting.clear()
