"""Which servers of this user run on this computer: a small file each, gone when the server is."""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ossia.files import private_file, state_folder

FOLDER = "servers"


@dataclass(frozen=True, slots=True)
class Running:
    """One server."""

    pid: int
    model: str
    addresses: tuple[str, ...]
    started: float
    """Seconds since 1970."""


@contextmanager
def registered(server: Running) -> Iterator[None]:
    """Be listed while the block runs; a folder that cannot be written lists nothing."""
    path = None
    with contextlib.suppress(OSError):
        path = private_file(state_folder() / FOLDER, f"{server.pid}.json")
        path.write_text(json.dumps(asdict(server)))
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def running() -> list[Running]:
    """Every server that lives; what a killed one left behind is cleared away."""
    found = []
    for path in sorted((state_folder() / FOLDER).glob("*.json")):
        server = _read(path)
        if server is not None and _lives(server.pid):
            found.append(server)
        else:
            path.unlink(missing_ok=True)
    return found


def _read(path: Path) -> Running | None:
    try:
        told = json.loads(path.read_bytes())
        return Running(
            int(told["pid"]),
            str(told["model"]),
            tuple(map(str, told["addresses"])),
            float(told["started"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # pragma: no cover - another user's process has the number now
        return False
    return True
