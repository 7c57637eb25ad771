"""Does a wrong key tell how wrong it is; what does the guard cost; does a crowd shut anyone out?

    python -m benchmarks.guard --tries 20000 --connections 10000

A key is tried whose first bytes are right and one whose first bytes are wrong, in random order;
Welch's t of the two times must stay below 4, and that of a comparison which does leak far above.
The crowd says nothing, while an honest client goes on asking a server in a process of its own.
"""

import argparse
import asyncio
import math
import random
import resource
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from starlette.types import Message, Receive, Scope, Send

from ossia.server.http.drain import Drain
from ossia.server.http.guard import Guard, GuardOptions
from ossia.server.http.listen import Listening, ListeningOptions
from ossia.store.api_keys import SCOPES, Key, KeyRing

CLIENT_SECONDS = 10.0


def welch_t(first: Sequence[float], second: Sequence[float]) -> float:
    """How far two means are apart, in standard errors."""
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(spread)


def leak(find: Callable[[bytes], object], right: bytes, tries: int, seed: int) -> float:
    """Welch's t between tries that begin right and tries that begin wrong.

    Args:
        find: looks a key up.
        right: a key that it knows; the tries are as long, and all of them wrong.
        tries: of each kind.
        seed: of their order.
    """
    rng = random.Random(seed)
    begins_right = right[:-1] + bytes([right[-1] ^ 1])
    begins_wrong = bytes([right[0] ^ 1]) + right[1:]
    kinds = [begins_right, begins_wrong] * tries
    rng.shuffle(kinds)
    times: dict[bytes, list[float]] = {begins_right: [], begins_wrong: []}
    for tried in kinds:
        begun = time.perf_counter_ns()
        find(tried)
        times[tried].append(time.perf_counter_ns() - begun)
    first, second = (_without_interruptions(each) for each in times.values())
    return welch_t(first, second)


def key_ring(num_keys: int) -> tuple[KeyRing, bytes]:
    """A ring, and the secret of its first key."""
    secret = [secrets.token_urlsafe(32).encode() for _ in range(num_keys)]
    keys = [
        Key(name=f"k{n}", sha256=sha256(each).hexdigest(), scopes=SCOPES, created_at=0)
        for n, each in enumerate(secret)
    ]
    return KeyRing(tuple(keys)), secret[0]


def leaky_find(right: bytes) -> Callable[[bytes], bool]:
    """What must not be: byte by byte, and ending at the first difference."""
    return lambda tried: all(a == b for a, b in zip(tried, right, strict=True))


async def guard_microseconds(requests: int) -> tuple[float, float]:
    """Processor time of a request through the guard, and of the same without; no sockets."""
    ring, secret = key_ring(1)
    options = GuardOptions(requests_per_minute=None)
    guard = Guard(answer, options=options, keys=ring, drain=Drain())
    fields = {
        "host": "localhost:8000", "authorization": f"Bearer {secret.decode()}",
        "content-type": "application/json", "content-length": "2", "accept": "*/*",
        "user-agent": "OpenAI/Python", "accept-encoding": "gzip", "connection": "keep-alive",
    }  # fmt: skip
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/responses",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    ask = {"type": "http.request", "body": b"{}", "more_body": False}

    async def receive() -> Message:
        return ask

    async def send(message: Message) -> None:
        assert message["type"] != "http.response.start" or message["status"] == 200

    found = []
    for app in (guard, answer):
        begun = time.process_time_ns()
        for _ in range(requests):
            await app(scope, receive, send)
        found.append((time.process_time_ns() - begun) / requests / 1000)
    return found[0], found[1]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """The smallest application."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    await receive()
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def serve() -> None:
    """Serve it behind the guard; say the port."""
    listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
    drain = Drain()
    guard = Guard(answer, options=GuardOptions(), keys=KeyRing(), drain=drain)
    listening.run(guard, drain, started=lambda: print(listening.port, flush=True))


def crowd(connections: int) -> dict[str, float]:
    """Open silent connections, and ask in between.

    Returns:
        `asked` and `answered`: how often an honest client asked, and got its answer; `worst_ms`:
        the longest it waited; `grown_mib`: the server's memory.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(connections + 1000, hard), hard))
    command = [sys.executable, "-m", "benchmarks.guard", "--serve"]
    idle: list[socket.socket] = []
    times: list[float] = []
    answered = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            answered += _ask(port)
            before = _resident_mib(server.pid)
            for count in range(connections):
                idle.append(socket.create_connection(("127.0.0.1", port), CLIENT_SECONDS))
                if count % 20 == 0:
                    begun = time.perf_counter()
                    answered += _ask(port)
                    times.append((time.perf_counter() - begun) * 1000)
            grown = _resident_mib(server.pid) - before
        finally:
            for each in idle:
                each.close()
            server.terminate()
    return {
        "asked": len(times) + 1,
        "answered": answered,
        "worst_ms": max(times, default=0.0),
        "grown_mib": grown,
        "exit_status": server.returncode,
    }


def _ask(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), CLIENT_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        return client.recv(4096).startswith(b"HTTP/1.1 200")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _without_interruptions(times: list[float]) -> list[float]:
    """The system takes the processor away now and then, for either kind alike."""
    return sorted(times)[: len(times) * 95 // 100]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    ring, right = key_ring(8)
    t = leak(ring.find, right, options.tries, options.seed)
    control = leak(leaky_find(right), right, options.tries, options.seed)
    print(f"time of a wrong key: t = {t:+.2f} (leaky comparison: {control:+.0f})")
    guarded, bare = asyncio.run(guard_microseconds(options.tries))
    print(f"the guard costs {guarded - bare:.0f} us a request")
    for name, value in crowd(options.connections).items():
        print(f"{options.connections} silent connections: {name} {value:.1f}")
    if abs(t) >= 4:
        raise SystemExit("a wrong key tells how wrong it is")


if __name__ == "__main__":
    main()
