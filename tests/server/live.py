"""A real server on loopback in a thread of its own, and a client that writes bytes as they are."""

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ossia.server.http.connection import HttpConnection
from ossia.server.http.drain import Drain
from ossia.server.http.guard import AnsweredRequest, Guard, GuardOptions
from ossia.server.http.listen import Listening, ListeningOptions
from ossia.store.api_keys import KeyRing

SECONDS = 10.0
"""The longest any test waits for what should happen at once."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    def error(self) -> dict[str, Any]:
        """The error object, after a look that it holds nothing it must not."""
        assert not re.search(rb"Traceback|0x[0-9a-f]{8}|/src/|\.py|sk-", self.body), self.body
        document = json.loads(self.body)
        assert set(document) == {"error"}
        assert set(document["error"]) == {"message", "type", "param", "code"}
        assert self.headers["content-type"] == "application/json"
        return document["error"]


@dataclass
class Live:
    """A running server."""

    port: int
    drain: Drain
    loop: asyncio.AbstractEventLoop
    listening: Listening
    finished: list[AnsweredRequest] = field(default_factory=list)

    def connections(self) -> list[object]:
        """Those the server holds."""
        from gc import get_objects

        return [
            each
            for each in get_objects()
            if type(each) is HttpConnection and each.loop is self.loop and each in each.connections
        ]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def connect_from(self, address: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SECONDS, (address, 0))

    def exchange(self, sent: bytes) -> Answer:
        """Send bytes on a connection of their own, and read until the server closes it."""
        with self.connect() as connection:
            connection.sendall(sent)
            return read_answer(connection)

    def ask(self, method="GET", path="/", *fields: str, body: bytes = b"", host=None) -> Answer:
        """An ordinary request, with more header lines; `host=""` leaves that line out."""
        host = f"127.0.0.1:{self.port}" if host is None else host
        lines = [f"{method} {path} HTTP/1.1", *([f"host: {host}"] if host else [])]
        lines += ["connection: close", *fields]
        if body:
            lines.append(f"content-length: {len(body)}")
        return self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def post(self, document: Any, *fields: str, path="/echo") -> Answer:
        body = json.dumps(document).encode()
        return self.ask("POST", path, "content-type: application/json", *fields, body=body)

    def begin_drain(self) -> None:
        self.loop.call_soon_threadsafe(self.drain.begin, time.monotonic())


@contextmanager
def live(app, *, keys=None, guard=None, options=None, grace_seconds=5.0):
    """Serve an application behind the guard until the block ends."""
    drain = Drain(grace_seconds)
    options = options or ListeningOptions(host="127.0.0.1", port=0)
    keys = keys or KeyRing()
    listening = Listening(options, keyed=keys.required)
    loop, ready, failed = asyncio.new_event_loop(), threading.Event(), []
    found = Live(listening.port, drain, loop, listening)
    guarded = Guard(
        app, options=guard or GuardOptions(), keys=keys, drain=drain, observe=found.finished.append
    )

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(listening.serve(guarded, drain, started=ready.set))
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(SECONDS)
    try:
        if failed:
            raise failed[0]
        yield found
    finally:
        if not failed:
            found.drain.grace_seconds = 0.0
            loop.call_soon_threadsafe(drain.begin, time.monotonic()) if not loop.is_closed() else 0
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert not failed


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer and no byte more; without a length, until the end of the connection."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = receive(connection, 1)
        if not piece:
            return Answer(0, {}, b"", raw)
        raw += piece
    status, *lines = raw.decode("latin-1").strip().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name not in headers, f"{name} stands twice"
        headers[name] = value
    body, most = b"", int(headers.get("content-length", 1 << 40))
    while len(body) < most and (piece := receive(connection, min(most - len(body), 65536))):
        body += piece
    return Answer(int(status.split()[1]), headers, body, raw + body)


def receive(connection: socket.socket, most: int = 65536) -> bytes:
    """The next bytes; none at the end, which a reset is too."""
    try:
        return connection.recv(most)
    except ConnectionResetError:
        return b""


def wait_until(condition) -> None:
    """Wait for what other threads do."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


class Example:
    """A small ASGI application: it echoes bodies, streams, waits and fails as it is asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.callers: list[Any] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.left = threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.seen.append((scope["method"], scope["path"]))
        self.callers.append(scope["state"]["caller"])
        act = getattr(self, scope["path"].strip("/").replace("/", "_") or "echo", self.echo)
        await act(scope, receive, send)

    async def echo(self, scope, receive, send) -> None:
        message = await receive()
        assert not message["more_body"]
        headers = [
            (b"content-length", str(len(message["body"])).encode()),
            (b"access-control-allow-origin", b"*"),
            (b"server", b"secret/1.2.3"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": message["body"]})

    async def fail(self, scope, receive, send) -> None:
        raise RuntimeError("the prompt was: sk-local-canary")

    async def late(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise RuntimeError("the prompt was: sk-local-canary")

    async def wait(self, scope, receive, send) -> None:
        """Begins to answer, and ends when told to, or when the client leaves."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        self.started.set()
        gone = asyncio.ensure_future(receive())
        while not self.go_on.is_set() and not gone.done():
            await asyncio.sleep(0.005)
        if gone.done():
            self.left.set()
        gone.cancel()
        await send({"type": "http.response.body", "body": b"done"})

    async def flood(self, scope, receive, send) -> None:
        """Writes for ever; ends when nobody takes it."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        self.left.set()

    async def tick(self, scope, receive, send) -> None:
        """Writes a little, often, until the client leaves."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await asyncio.sleep(0.005)
