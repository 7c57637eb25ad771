"""The self-test of a sandbox: runs probes inside and checks for traces outside.

Judges; which sandboxes are tried, and in which order, is decided elsewhere.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ossia.tools.python.launcher_client import LauncherClient, LauncherGone
from ossia.tools.python.sandboxes import LABELS, Limits, Sandbox

SOURCE = (Path(__file__).parent / "probe_cell.py").read_text()
PROBE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of one probe."""

    name: str
    passed: bool
    found: str = ""
    """What the probe could do that it must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReport:
    """What the self-test found, for `ossia doctor` and for /health."""

    sandbox: Sandbox | None
    """None: no sandbox holds, and python is not offered."""
    reason: str = ""
    """Why not, and the remedy."""
    probes: tuple[ProbeResult, ...] = ()
    """Of the sandbox; if none holds, of the last one that could be tried."""
    seconds: float = 0.0
    """Duration of the probes, including the start of the interpreter."""
    passed_over: tuple[str, ...] = ()
    """Better sandboxes and why they are not used."""

    @property
    def passed(self) -> bool:
        """Whether there is a sandbox that passed every probe."""
        return self.sandbox is not None and not self.reason

    @property
    def label(self) -> str:
        """full, reduced, operator's, NONE, or unavailable."""
        return "unavailable" if self.sandbox is None else LABELS[self.sandbox]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON: the sandbox is `tier`, and a passed probe `is_held`."""
        fields = asdict(self)
        probes = [
            {"name": each.name, "is_held": each.passed, "found": each.found} for each in self.probes
        ]
        return {"tier": fields.pop("sandbox"), **fields, "probes": probes, "label": self.label}


class _Outside:
    """Targets outside the sandbox, which probes attack and which are checked afterwards."""

    def __init__(self, folder: str) -> None:
        self._word = secrets.token_hex(8)
        self._folder = Path(folder)
        self._folder.chmod(0o755)  # its rights are not what shall keep others out
        self._marker = self._folder / "marker"
        self._marker.write_text(self._word)
        self._marker.chmod(0o666)
        self._before = self._state()
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._tcp.setblocking(False)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)

    def facts(self, limits: Limits, launcher: int) -> dict[str, Any]:
        """The facts for the probes."""
        command = ""
        with contextlib.suppress(OSError):
            command = hashlib.sha256(Path("/proc/self/cmdline").read_bytes()).hexdigest()
        return {
            "marker": str(self._marker),
            "word": self._word,
            "pid": os.getpid(),
            "cmdline": command,
            "launcher": launcher,
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "processes": limits.processes,
            "shared_bytes": limits.temporary_bytes,
            "address_bytes": limits.address_bytes,
        }

    def traces(self) -> dict[str, str]:
        """The traces that probes left outside."""
        found = {}
        with contextlib.suppress(OSError):
            self._tcp.accept()[0].close()
            found["tcp"] = "a TCP connection came"
        with contextlib.suppress(OSError):
            self._udp.recv(64)
            found["udp"] = "a UDP packet came"
        if self._state() != self._before:
            found["writing"] = "a file outside was changed, or made"
        self._tcp.close()
        self._udp.close()
        return found

    def _state(self) -> object:
        if not self._marker.exists():
            return None
        about = self._marker.stat()
        names = sorted(path.name for path in self._folder.iterdir())
        return (self._marker.read_text(), about.st_mode, about.st_mtime_ns, names)


async def test_sandbox(sandbox: Sandbox, launcher: LauncherClient, limits: Limits) -> SandboxReport:
    """Run the probes in an interpreter of a launcher, which remains usable."""
    if sandbox == "unsandboxed":
        return SandboxReport(sandbox=sandbox)
    began, name = time.monotonic(), secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="ossia-probe-") as folder:
        outside = _Outside(folder)
        code = f"facts = {outside.facts(limits, launcher.pid)!r}\n{_probes()}"
        try:
            found = await _inside(launcher, name, code)
        except LauncherGone as error:
            return SandboxReport(sandbox=sandbox, reason=str(error))
        finally:
            await launcher.tell(name, "close")
            traces = await asyncio.to_thread(outside.traces)
    if isinstance(found, str):
        return SandboxReport(sandbox=sandbox, reason=found, seconds=time.monotonic() - began)
    for probe, trace in traces.items():
        found[probe] = trace
    probes = tuple(
        ProbeResult(name=probe, passed=what is None, found=what or "")
        for probe, what in found.items()
    )
    broken = [f"{each.name} ({each.found})" for each in probes if not each.passed]
    reason = f"its self-test found: {', '.join(broken)}" if broken else ""
    seconds = time.monotonic() - began
    return SandboxReport(sandbox=sandbox, reason=reason, probes=probes, seconds=seconds)


def _probes() -> str:
    """The source of the probes without their empty `facts`."""
    return SOURCE.replace('facts: dict[str, Any] = globals().get("facts", {})\n', "")


async def _inside(launcher: LauncherClient, name: str, code: str) -> dict[str, str | None] | str:
    """Run the probes; their findings, or why there are none."""
    opened = await launcher.ask(name, {"do": "open"})
    if opened["was"] != "opened":
        return f"it does not start ({_last_line(opened['text'])})"
    ran = await launcher.ask(name, {"do": "run", "code": code, "seconds": PROBE_SECONDS})
    if ran["was"] != "ran" or ran["ended"] != "finished":
        return f"its self-test did not end ({ran.get('ended')}; {_last_line(ran['text'])})"
    try:
        found = json.loads(ran["text"])
    except ValueError:
        return f"its self-test said {_last_line(ran['text'])}"
    return {str(probe): None if what is None else str(what) for probe, what in found.items()}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else f"nothing was said; on {sys.platform}"
