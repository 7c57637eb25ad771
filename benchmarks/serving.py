"""A real `ossia serve` in a process of its own, for benchmarks and for whole tests."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2

_ADDRESS = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
START_SECONDS = 60.0


class Served:
    """One server, from its start to its end."""

    def __init__(
        self, *options: str, home: Path, environment: dict[str, str] | None = None
    ) -> None:
        """Start it on a free port; see `wait`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ossia", "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OSSIA_HOME": str(home), **(environment or {})},
        )
        self.lines: list[str] = []
        self._found = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = ""

    @property
    def pid(self) -> int:
        """Of the server; its engine is a child of it."""
        return self._process.pid

    @property
    def engine_pid(self) -> int:
        """Of the engine's process."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0])

    @property
    def api(self) -> str:
        """What OpenAI's clients take as their base URL."""
        return f"{self.address}/v1"

    def wait(self) -> Self:
        """Wait until it is ready.

        Raises:
            RuntimeError: it ended, or took too long; with what it said.
        """
        if not self._found.wait(START_SECONDS) or not self.address:
            raise RuntimeError("the server did not start: " + " | ".join(self.lines[-5:]))
        return self

    def post(self, path: str, body: dict[str, Any], **options: Any) -> httpx2.Response:
        """One request on a connection of its own."""
        return httpx2.post(f"{self.address}{path}", json=body, timeout=60, **options)

    def metrics(self) -> dict[str, float]:
        """What the server counts, by name with labels."""
        found = {}
        for line in httpx2.get(f"{self.address}/metrics", timeout=10).text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def cpu_seconds(self, pid: int | None = None) -> float:
        """Processor time used so far by the server alone, or by another process."""
        fields = Path(f"/proc/{pid or self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def num_descriptors(self) -> int:
        """Open files and sockets of the server."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self, pid: int | None = None) -> int:
        """Memory of the server alone, or of another process."""
        pages = int(Path(f"/proc/{pid or self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()
            self._reader.join()

    def __enter__(self) -> Self:
        return self.wait()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip())
            if found := _ADDRESS.search(line):
                self.address = found[1]
                self._found.set()
        self._process.stderr.close()
        self._found.set()


@contextmanager
def served(*options: str) -> Iterator[Served]:
    """A server whose files go with it."""
    with tempfile.TemporaryDirectory() as home, Served(*options, home=Path(home)) as server:
        yield server


def events_of(response: httpx2.Response) -> Iterator[tuple[float, dict[str, Any]]]:
    """The events of a stream as they come, each with the time it came at."""
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield time.perf_counter(), json.loads(line.removeprefix("data: "))
