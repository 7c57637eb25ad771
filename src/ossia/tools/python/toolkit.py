"""The python tool of all conversations: one interpreter each, few at a time, never shared."""

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, replace
from typing import Literal

from ossia.errors import RequestError
from ossia.harmony.prompt_text import PYTHON
from ossia.tools.python.launcher_client import LauncherClient, LauncherGone
from ossia.tools.python.outcome import result
from ossia.tools.python.sandboxes import (
    REMEDY,
    SANDBOXES,
    InstalledPython,
    Limits,
    Sandbox,
    why_not,
)
from ossia.tools.python.self_test import SandboxReport, test_sandbox
from ossia.tools.tool import Tool, ToolResult, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonOptions:
    """Options of the python tool."""

    sandbox: Literal["auto"] | Sandbox = "auto"
    """auto: the best that passes its self-test. unsandboxed: no sandbox at all; must be named."""
    container: tuple[str, ...] = ()
    """The operator's command, to be followed by python3 and its arguments; {name}: a name to
    give the container, so that `PROGRAM kill NAME` ends it."""
    limits: Limits = Limits()
    max_interpreters: int = 8
    idle_seconds: float = 600
    life_seconds: float = 3600
    secure_seconds: float = 30
    """Seconds after its last use during which an interpreter is not evicted."""


class PythonToolkit:
    """The python tool; its sandbox is tested before it is offered."""

    def __init__(
        self, options: PythonOptions, report: SandboxReport, launcher: LauncherClient
    ) -> None:
        """Use `start`."""
        self._options, self.report, self._launcher = options, report, launcher
        self._sessions: dict[str, PythonSession] = {}
        """Sessions with an interpreter, least recently used first."""
        self._opening = asyncio.Lock()
        self._is_closed = False
        self._sweeper = asyncio.create_task(self._sweep())

    @classmethod
    async def start(cls, options: PythonOptions | None = None) -> "PythonToolkit":
        """Find the best sandbox that passes its self-test, and start its launcher.

        Raises:
            RequestError: none does; what is missing, and the remedy. Code tool_unavailable.
        """
        options = options or PythonOptions()
        report, launcher = await _choose(options)
        if launcher is None:
            raise RequestError(report.reason, code="tool_unavailable")
        return cls(options, report, launcher)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The spec of `python`."""
        spec = ToolSpec(
            name="python",
            description=PYTHON.description,
            input_format="text",
            channel="analysis",
            seconds=self._options.limits.wall_seconds,
        )
        return (spec,)

    @property
    def has_room(self) -> bool:
        """Whether another interpreter could start now."""
        return not self._is_closed and (self._free > 0 or self._evictable() is not None)

    async def open(self) -> "PythonSession":
        """Begin a conversation; its interpreter starts with its first cell.

        Raises:
            RequestError: the tool is closed, or its sandbox stands no more. Code tool_unavailable.
        """
        if self._is_closed:
            raise RequestError("the python tool is closed", code="tool_unavailable")
        return PythonSession(self)

    async def close(self) -> None:
        """End all interpreters and their launcher."""
        self._is_closed = True
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        for session in list(self._sessions.values()):
            session.forget()
        self._sessions.clear()
        await self._launcher.close()

    @property
    def options(self) -> PythonOptions:
        """The options it was started with."""
        return self._options

    @property
    def launcher(self) -> LauncherClient:
        """The current launcher."""
        return self._launcher

    async def admit(self, session: "PythonSession") -> str | None:
        """Start a session's interpreter, evicting another if needed; or return why not."""
        async with self._opening:
            if self._is_closed:
                return "The python tool is closed."
            if not self._launcher.is_alive and (reason := await self._again()) is not None:
                return reason
            if self._free <= 0:
                other = self._evictable()
                if other is None:
                    return f"All {self._options.max_interpreters} interpreters are in use."
                await other.release()
            self._sessions[session.id] = session
        return None

    def touch(self, session: "PythonSession") -> None:
        """Mark a session as just used."""
        self._sessions[session.id] = self._sessions.pop(session.id)

    def dismiss(self, session: "PythonSession") -> None:
        """Record that a session lost its interpreter."""
        self._sessions.pop(session.id, None)

    @property
    def _free(self) -> int:
        return self._options.max_interpreters - len(self._sessions)

    def _evictable(self) -> "PythonSession | None":
        before = time.monotonic() - self._options.secure_seconds
        idle = (each for each in self._sessions.values() if each.is_idle_since(before))
        return next(idle, None)

    async def _again(self) -> str | None:
        """Restart a dead launcher with the same sandbox if it still passes; never a weaker one."""
        for session in list(self._sessions.values()):
            session.forget()
        self._sessions.clear()
        await self._launcher.close()
        sandbox = self.report.sandbox
        assert sandbox is not None, "a toolkit has a sandbox"
        report, launcher = await _choose(replace(self._options, sandbox=sandbox))
        if launcher is None:
            return f"Python is not available any more: {report.reason}"
        self.report, self._launcher = report, launcher
        return None

    async def _sweep(self) -> None:
        """End idle and old interpreters."""
        options = self._options
        while True:
            await asyncio.sleep(min(10.0, options.idle_seconds / 2, options.life_seconds / 2))
            now = time.monotonic()
            for session in list(self._sessions.values()):
                is_old = session.born < now - options.life_seconds and session.is_idle_since(now)
                if is_old or session.is_idle_since(now - options.idle_seconds):
                    await session.release()


class PythonSession:
    """The session of one conversation, with or without an interpreter."""

    def __init__(self, toolkit: PythonToolkit) -> None:
        """Start without an interpreter."""
        self.id = f"cntr_{secrets.token_hex(16)}"
        self.born = 0.0
        self._toolkit = toolkit
        self._spec = toolkit.specs[0]
        self._interpreter: str | None = None
        self._used = 0.0
        self._was_lost = self._is_closed = False
        self._calling = asyncio.Lock()

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The python tool."""
        return (self,)

    def needs_approval(self, name: str, arguments: str) -> bool:
        """Return False: nothing leaves the sandbox."""
        return False

    async def call(self, arguments: str) -> ToolResult:
        """Run a cell. When the caller is cancelled, so is the cell."""
        limits = self._toolkit.options.limits
        size = len(arguments.encode("utf-8", "replace"))
        if size > limits.code_bytes:
            return _refused(f"The code has {size} bytes; at most {limits.code_bytes} are run.")
        async with self._calling:
            try:
                reason = await self._prepare()
                if reason is not None:
                    return _refused(reason, "busy" if self._toolkit.launcher.is_alive else "gone")
                return await self._run(arguments, limits)
            except LauncherGone:
                self.forget()
                return _refused("The interpreter is gone; variables are lost.", "died")

    async def close(self) -> None:
        """End the interpreter."""
        self._is_closed = True
        await self.release()

    async def release(self) -> None:
        """End the interpreter; the next cell gets a new one and says so."""
        interpreter = self._interpreter
        self.forget()
        if interpreter is not None:
            await self._toolkit.launcher.tell(interpreter, "close")

    def forget(self) -> None:
        """Record that the interpreter ended, with all its variables."""
        if self._interpreter is not None:
            self._interpreter, self._was_lost = None, True
        self._toolkit.dismiss(self)

    def is_idle_since(self, moment: float) -> bool:
        """Whether no cell runs, nor has since then."""
        return not self._calling.locked() and self._used <= moment

    async def _prepare(self) -> str | None:
        """Start an interpreter if needed; returns the reason if that fails."""
        if self._is_closed:
            return "The conversation is over."
        if self._interpreter is not None and self._toolkit.launcher.is_alive:
            return None
        self.forget()
        if (reason := await self._toolkit.admit(self)) is not None:
            return reason
        name = self._interpreter = secrets.token_hex(8)
        lost, self.born = self._was_lost, time.monotonic()
        answer = await self._toolkit.launcher.ask(name, {"do": "open"})
        if answer["was"] != "opened":
            self.forget()
            self._was_lost = lost
            return f"Python cannot be started: {answer['text'].strip()[-300:]}"
        return None

    async def _run(self, code: str, limits: Limits) -> ToolResult:
        name, seconds = self._interpreter, limits.wall_seconds
        assert name is not None, "prepared"
        launcher = self._toolkit.launcher
        answering = asyncio.ensure_future(
            launcher.ask(name, {"do": "run", "code": code, "seconds": seconds})
        )
        try:
            answer = await asyncio.shield(answering)
        except asyncio.CancelledError:
            await launcher.tell(name, "interrupt")
            with contextlib.suppress(LauncherGone):
                self._settle(await answering)
            raise
        self._used = time.monotonic()
        lost, self._was_lost = self._was_lost, False
        self._settle(answer)
        if answer["was"] == "gone":
            return _refused("The interpreter is gone; variables are lost.", "died")
        outcome = await asyncio.to_thread(result, answer, limits, seconds=seconds, lost=lost)
        return replace(outcome, details={"container_id": self.id, **outcome.details})

    def _settle(self, answer: dict[str, object]) -> None:
        if not answer.get("is_alive", False):
            self.forget()
        else:
            self._toolkit.touch(self)


def _refused(text: str, code: str = "refused") -> ToolResult:
    return ToolResult(text=text, is_error=True, details={"outputs": [], "code": code})


async def _choose(options: PythonOptions) -> tuple[SandboxReport, LauncherClient | None]:
    """Try sandboxes, best first; returns the running launcher of the first that passes."""
    wanted: tuple[Sandbox, ...] = SANDBOXES if options.sandbox == "auto" else (options.sandbox,)
    python = InstalledPython.here()
    failed: list[str] = []
    last: SandboxReport | None = None
    for sandbox in wanted:
        reason = why_not(sandbox, options.container) or python.why_not()
        if reason is not None:
            failed.append(f"{sandbox}: {reason}")
            continue
        try:
            launcher = await LauncherClient.start(
                sandbox, python, options.limits, options.container
            )
        except LauncherGone as error:
            failed.append(f"{sandbox}: {error}")
            continue
        last = await test_sandbox(sandbox, launcher, options.limits)
        if last.passed:
            return replace(last, passed_over=tuple(failed)), launcher
        await launcher.close()
        failed.append(f"{sandbox}: {last.reason}")
    reason = f"Python cannot be run safely here ({'; '.join(failed)}); {REMEDY}"
    probes, seconds = (last.probes, last.seconds) if last is not None else ((), 0.0)
    report = SandboxReport(
        sandbox=None, reason=reason, probes=probes, seconds=seconds, passed_over=tuple(failed)
    )
    return report, None


async def examine(options: PythonOptions | None = None) -> SandboxReport:
    """Report which sandbox would be used, with every probe; leaves nothing running."""
    report, launcher = await _choose(options or PythonOptions())
    if launcher is not None:
        await launcher.close()
    return report
