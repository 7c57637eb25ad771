"""One interpreter, from outside: starts it in its sandbox, runs cells, ends what breaks a bound.

Runs in the launcher. Trusts nothing that comes out: text is text, results are checked frames.
"""

import contextlib
import os
import re
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ossia.tools.python.sandboxes import LaunchCommand, Sandbox, SandboxSpec, start
from ossia.tools.python.usage_monitor import children, disk_usage, memory_bytes, tasks_of, usage
from ossia.tools.python.wire import Breach, Frames, frame
from ossia.tools.tool import MAX_RESULT_BYTES

Ended = Literal[
    "finished", "error", "time", "cpu", "memory", "processes", "files", "disk", "output",
    "cancelled", "died", "breach",
]  # fmt: skip
"""How a cell ended; from `time` on: it was stopped."""
START_SECONDS = 20.0
LIFE_CPU_SECONDS = 3600
"""Limit of one process, in case the monitor fails."""
LEAST_FREE_BYTES = 512 << 20
"""Free disk space below which cells that write to the host's disk are ended."""
MAX_FILES = 100
"""Limit of files in one result."""
_READ = 1 << 16


HEAD_BYTES = MAX_RESULT_BYTES * 3 // 4
TAIL_BYTES = MAX_RESULT_BYTES - HEAD_BYTES
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Capture:
    """The output of one cell, in bounded memory."""

    def __init__(self) -> None:
        """Start empty."""
        self._head = bytearray()
        self._tail = bytearray()
        self.num_bytes = 0

    def push(self, more: bytes) -> None:
        """Append output."""
        self.num_bytes += len(more)
        room = HEAD_BYTES - len(self._head)
        self._head += more[:room]
        self._tail += more[room:] if room > 0 else more
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """The output as plain text, without terminal codes, truncated in the middle."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        omitted = self.num_bytes - len(self._head) - len(tail)
        if omitted <= 0:
            return plain(bytes(self._head) + tail)
        note = f"\n[... {omitted} bytes left out ...]\n"
        return f"{plain(bytes(self._head)).rstrip()}{note}{plain(tail).lstrip()}"


def plain(written: bytes) -> str:
    """Strip terminal codes; an overwritten line shows its last state."""
    text = _TERMINAL.sub("", written.decode("utf-8", "replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


@dataclass(slots=True)
class _Cell:
    nonce: str
    deadline: float
    started: float
    cpu_before: float
    capture: Capture = field(default_factory=Capture)
    why: Ended | None = None
    kill_at: float | None = None


def _checked(files: object) -> list[dict[str, Any]]:
    """Check the form of the reported files, which are untrusted."""
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise Breach("files that are not a list")
    for each in files:
        if not isinstance(each, dict) or each.keys() != {"name", "size", "content"}:
            raise Breach("a file that is none")
        name, size, content = each["name"], each["size"], each["content"]
        if not isinstance(name, str) or not isinstance(content, str | None):
            raise Breach("a file without a name, or with strange content")
        if not isinstance(size, int) or not 0 <= size < 1 << 63:
            raise Breach("a file of no size")
    return files


def _step_back(pid: int, niceness: int) -> bool:
    """Go first when memory is short, and last to a processor; whether that needs no second try.

    Where Linux shares processors by session, niceness counts within one only; a session has its
    own, which ordinary users may set a few times a second. Inside, /proc cannot be written, so
    neither can be taken back.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write("1000")
    try:
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write(str(niceness))
    except BlockingIOError:
        return False
    except OSError:
        pass  # no such thing on this system
    return True


class Interpreter:
    """A process in a sandbox, with its pipes; used from the launcher's loop only."""

    def __init__(
        self,
        sandbox: Sandbox,
        spec: SandboxSpec,
        selector: selectors.BaseSelector,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Start the process.

        Args:
            sandbox: how it is started.
            spec: what it may see and use.
            selector: calls us when there is something to read or room to write.
            tell: takes what happened: opened, ran, gone.

        Raises:
            OSError: it cannot be started.
        """
        self._sandbox, self._spec, self._selector, self._tell = sandbox, spec, selector, tell
        self._limits = spec.limits
        self._cell: _Cell | None = None
        self._group: int | None = None
        """Process group that cells run in, as the host counts; None: out of our sight."""
        self._own: tuple[int, ...] = ()
        """Its processes before the first cell."""
        self._mounts: list[int] = []
        self._unsent = bytearray()
        self._frames, self._early = Frames(), Capture()
        self.is_ready, self.is_alive = False, True
        self._stands_back = False
        way = start(sandbox, spec)
        try:
            self._process = self._spawn(way)
        finally:
            for descriptor in way.passed:
                os.close(descriptor)
        _step_back(self._process.pid, self._limits.niceness)
        self._way, self._deadline = way, time.monotonic() + START_SECONDS
        stdin, stdout, stderr = (self._process.stdin, self._process.stdout, self._process.stderr)
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._stdin, self._stdout, self._stderr = stdin.fileno(), stdout.fileno(), stderr.fileno()
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe, False)
        selector.register(self._stdout, selectors.EVENT_READ, self._read_frames)
        selector.register(self._stderr, selectors.EVENT_READ, self._read_output)
        self._send(self._settings())

    def run(self, code: str, seconds: float) -> None:
        """Start a cell; none may be running."""
        assert self._cell is None, "one cell at a time"
        now = time.monotonic()
        self._wake()
        used = 0.0 if self._group is None else usage(self._group).cpu_seconds
        self._cell = _Cell(secrets.token_hex(16), now + seconds, now, used)
        self._send({"nonce": self._cell.nonce, "code": code})

    def interrupt(self, why: Ended) -> None:
        """Interrupt the cell; if it goes on, the interpreter is ended."""
        if self._cell is not None and self._cell.why is None:
            self._cell.why = why
            self._cell.kill_at = time.monotonic() + self._limits.grace_seconds
            with contextlib.suppress(ProcessLookupError):
                if self._group is None:
                    self._process.send_signal(signal.SIGINT)
                else:
                    os.killpg(self._group, signal.SIGINT)

    @property
    def is_running(self) -> bool:
        """Whether a cell runs."""
        return self.is_alive and (not self.is_ready or self._cell is not None)

    def look(self) -> None:
        """Check time and usage against the limits; call this five times a second."""
        now = time.monotonic()
        if not self.is_ready:
            if now > self._deadline:
                self.end("died")
            return
        cell = self._cell
        if cell is None:
            return
        if cell.kill_at is not None and now > cell.kill_at:
            self.end(cell.why or "time")
        elif (broken := self._broken(cell)) is not None:
            self.end(broken)
        elif now > cell.deadline:
            self.interrupt("time")

    def end(self, why: Ended = "cancelled") -> None:
        """Kill it with its children, and report how its cell ended."""
        if not self.is_alive:
            return
        self.is_alive = False
        if why == "died":  # give it a moment to tell its status
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        self._kill()
        status = self._process.wait()
        self._drain()
        for pipe in (self._stdout, self._stderr, self._stdin):
            with contextlib.suppress(KeyError):
                self._selector.unregister(pipe)
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert file is not None
            with contextlib.suppress(BrokenPipeError):
                file.close()
        for mount in self._mounts:
            os.close(mount)
        shutil.rmtree(self._spec.scratch, ignore_errors=True)
        if self._cell is not None:
            self._report(self._cell, why, [], 0, status)
        else:
            self._tell({"was": "gone", "text": self._early.text()[-2000:], "status": status})

    def _settings(self) -> dict[str, Any]:
        limits = self._limits
        processes: int | None = None  # the operator's, or macOS's, to bound
        if self._sandbox == "bubblewrap":
            processes = limits.processes + 1  # its own
        elif self._sandbox != "container" and sys.platform == "linux":
            processes = limits.processes + tasks_of(self._spec.user or os.getuid()) - 1
        return {
            "folder": self._way.folder,
            "paths": list(self._way.packages),
            "address_bytes": limits.address_bytes,
            "descriptors": limits.descriptors,
            "file_bytes": limits.file_bytes,
            "processes": processes,
            "niceness": limits.niceness,
            "life_cpu_seconds": LIFE_CPU_SECONDS,
        }

    def _spawn(self, way: LaunchCommand) -> subprocess.Popen[bytes]:
        for name in ("data", "tmp"):
            folder = self._spec.scratch / name
            folder.mkdir(mode=0o700)
            if self._spec.user is not None:
                os.chown(folder, self._spec.user, self._spec.user)
        user = self._spec.user
        return subprocess.Popen(
            way.command, bufsize=0, cwd="/", env=dict(way.environment),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=way.passed, preexec_fn=way.before, start_new_session=True,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip

    def _send(self, message: dict[str, Any]) -> None:
        self._unsent += frame(message)
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._unsent:
                del self._unsent[: os.write(self._stdin, self._unsent[:_READ])]
        is_waiting = self._stdin in self._selector.get_map()
        if self._unsent and not is_waiting:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, self._write)
        elif not self._unsent and is_waiting:
            self._selector.unregister(self._stdin)

    def _read_output(self) -> None:
        """Read some output; returns whether there may be more."""
        more = os.read(self._stderr, _READ)
        if not more:
            self._selector.unregister(self._stderr)
        (self._early if self._cell is None else self._cell.capture).push(more)
        if self._cell is not None and self._cell.capture.num_bytes > self._limits.output_bytes:
            self.interrupt("output")

    def _read_frames(self) -> None:
        more = os.read(self._stdout, _READ)
        if not more:
            self.end("died")
            return
        try:
            for message in self._frames.push(more):
                self._take(message)
        except Breach:
            self.end("breach")

    def _take(self, message: dict[str, Any]) -> None:
        if not self.is_ready:
            if "ready" not in message:
                raise Breach("not a greeting")
            self._find_group()
            self.is_ready = True
            self._tell({"was": "opened", "group": self._group})
            return
        cell = self._cell
        if cell is None or message.get("nonce") != cell.nonce:
            raise Breach("a result that nobody asked for")
        files = _checked(message.get("files"))
        if self._sandbox == "container":
            time.sleep(0.02)  # a container's two outputs come by different ways
        self._drain()
        left = self._hush()
        ended: Ended = "finished" if message.get("finished") is True else "error"
        self._report(cell, cell.why or ended, files, left, None)

    def _report(
        self, cell: _Cell, ended: Ended, files: list[Any], left: int, status: int | None
    ) -> None:
        self._cell = None
        self._tell(
            {
                "was": "ran", "text": cell.capture.text(), "ended": ended, "files": files,
                "left": left, "status": status, "is_alive": self.is_alive,
                "seconds": time.monotonic() - cell.started,
            }
        )  # fmt: skip

    def _find_group(self) -> None:
        """Where cells run: none has run yet, so a straight line leads to it."""
        if self._sandbox == "container":
            return
        last = self._process.pid
        while sys.platform == "linux" and (found := children(last)):
            last = found[0]
        self._group = os.getpgid(last)
        self._stands_back = _step_back(last, self._limits.niceness)
        self._own = tuple(sorted(usage(self._group).pids))
        for mount in self._way.mounts:
            self._mounts.append(os.open(f"/proc/{last}/root{mount}", os.O_PATH | os.O_DIRECTORY))

    def _broken(self, cell: _Cell) -> Ended | None:
        """The limit that is exceeded so far that an interrupt is too late, if any."""
        limits = self._limits
        if self._group is None:
            return None
        if not self._stands_back:
            self._stands_back = _step_back(self._own[-1], limits.niceness)
        used = usage(self._group)
        if used.rss_bytes > limits.rss_bytes and memory_bytes(used.pids) > limits.rss_bytes:
            return "memory"
        # On the host, other processes of the user that end leave room under its limit for ours.
        most = limits.processes * (1 if self._way.mounts else 2)
        if len(used.pids) > most + len(self._own) - 1:
            return "processes"
        if used.cpu_seconds - cell.cpu_before > limits.cpu_seconds:
            self.interrupt("cpu")
        return self._full(used.pids)

    def _full(self, pids: tuple[int, ...]) -> Ended | None:
        limits = self._limits
        if self._way.mounts:
            seen = map(os.fstatvfs, self._mounts)
            return "files" if any(s.f_files - s.f_ffree > limits.files for s in seen) else None
        scratch = Path(self._spec.scratch)
        size, count = disk_usage(scratch, pids, most_files=limits.files)
        room = os.statvfs(scratch)
        if count > limits.files:
            return "files"
        is_full = room.f_bavail * room.f_frsize < LEAST_FREE_BYTES
        return "disk" if is_full or size > limits.data_bytes + limits.temporary_bytes else None

    def _drain(self) -> None:
        """Read all output written before the result."""
        with contextlib.suppress(BlockingIOError, KeyError, ValueError):
            for _ in range(64):  # a pipe holds 16 such pieces; a writer may go on for ever
                if self._stderr not in self._selector.get_map():
                    return
                self._read_output()

    def _hush(self) -> int:
        """Let nothing run between cells: end what the cell left, freeze the rest."""
        if self._group is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGSTOP)
        ended: set[int] = set()
        for _ in range(200):
            left = [pid for pid in usage(self._group).pids if pid not in self._own]
            if not left:
                break
            ended.update(left)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        return len(ended)

    def _wake(self) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGCONT)

    def _kill(self) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
        elif self._sandbox == "container":
            stop = [self._spec.container[0], "kill", self._spec.name]
            nothing = subprocess.DEVNULL
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(stop, stdin=nothing, stdout=nothing, stderr=nothing, timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
