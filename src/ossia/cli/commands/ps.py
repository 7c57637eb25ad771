"""`ossia ps`: list the running servers of this user."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from ossia.cli.options import AsJson
from ossia.cli.terminal.terminal import harmless
from ossia.files import private_file, state_folder

EXAMPLES = """
ossia ps
ossia ps --json
"""
PATIENCE_SECONDS = 2.0


FOLDER = "servers"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running `ossia serve`, as its file in the state folder describes it."""

    pid: int
    model: str
    addresses: tuple[str, ...]
    started: float
    """Seconds since 1970."""


@contextmanager
def registered(server: RunningServer) -> Iterator[None]:
    """List a server while the block runs; a folder that cannot be written is ignored."""
    path = None
    with contextlib.suppress(OSError):
        path = private_file(state_folder() / FOLDER, f"{server.pid}.json")
        path.write_text(json.dumps(asdict(server)))
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def running_servers() -> list[RunningServer]:
    """Every running server; files of killed ones are deleted."""
    found = []
    for path in sorted((state_folder() / FOLDER).glob("*.json")):
        server = _read(path)
        if server is not None and _lives(server.pid):
            found.append(server)
        else:
            path.unlink(missing_ok=True)
    return found


def _read(path: Path) -> RunningServer | None:
    try:
        content = json.loads(path.read_bytes())
        return RunningServer(
            int(content["pid"]),
            str(content["model"]),
            tuple(map(str, content["addresses"])),
            float(content["started"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # pragma: no cover - another user's process has this id now
        return False
    return True


def command(*, as_json: AsJson = False) -> None:
    """List your running servers: model, address, load."""
    servers = [_facts(server) for server in running_servers()]
    if as_json:
        typer.echo(json.dumps({"servers": servers}))
        return
    if not servers:
        typer.echo("no server runs; start one: ossia serve", err=True)
        return
    rows = [("PID", "MODEL", "STATUS", "RUNNING", "WAITING", "UPTIME", "ADDRESS")]
    rows += [
        (
            str(each["pid"]), each["model"], each["status"], _number(each["running"]),
            _number(each["waiting"]), f"{each['uptime_s'] / 60:.0f} min", each["addresses"][0],
        )
        for each in servers
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        typer.echo(harmless(line.rstrip()))


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _facts(server: RunningServer) -> dict[str, Any]:
    health = _health(server.addresses[0])
    return {
        "pid": server.pid,
        "model": server.model,
        "addresses": list(server.addresses),
        "status": health.get("status", "silent"),
        "running": health.get("num_requests_running"),
        "waiting": health.get("num_requests_waiting"),
        "uptime_s": round(max(0.0, time.time() - server.started)),
    }


def _health(address: str) -> dict[str, Any]:
    """The server's /health; empty if it does not answer in time."""
    import httpx2

    path, _, base = address.rpartition("unix:")
    transport = None if path == address or not base.startswith("/") else base
    try:
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=transport), timeout=PATIENCE_SECONDS, trust_env=False
        ) as client:
            root = "http://localhost" if transport else address
            found = client.get(f"{root}/health").json()
    except (httpx2.HTTPError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
