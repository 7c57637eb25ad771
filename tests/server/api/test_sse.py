import asyncio
import json

import pytest
from starlette.requests import Request

from ossia.server.api import sse
from ossia.server.api.sse import ClientGone, EventStreamResponse, sse_frame, unless_gone

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Client:
    """The other end of a connection, in memory."""

    def __init__(self, leaves_after=None):
        self.sent = []
        self.gone = asyncio.Event()
        self._leaves_after = leaves_after

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        if self._leaves_after is not None and len(self.sent) > self._leaves_after:
            self.gone.set()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


async def counted(log, until=3, error=None, pause=0.0):
    try:
        for number in range(until):
            yield b"%d" % number
            await asyncio.sleep(pause)
        if error:
            raise error
    finally:
        log.append("closed")


def test_frames_go_out_as_they_come():
    async def run():
        client, log = Client(), []
        response = EventStreamResponse(counted(log), {"x-a": "b"})
        await response(SCOPE, client.receive, client.send)
        return client, log

    client, log = asyncio.run(run())
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert (headers[b"x-a"], headers[b"cache-control"]) == (b"b", b"no-cache")
    assert b"content-length" not in headers
    assert (client.body, log) == (b"012", ["closed"])
    assert client.sent[-1]["more_body"] is False


def test_a_client_that_leaves_ends_the_work():
    async def run():
        client, log = Client(leaves_after=2), []
        response = EventStreamResponse(counted(log, until=10**9, pause=0.001))
        await asyncio.wait_for(response(SCOPE, client.receive, client.send), 5)
        return log

    assert asyncio.run(run()) == ["closed"]


def test_silence_is_filled_with_comments(monkeypatch):
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.01)

    async def run():
        client = Client()
        await EventStreamResponse(counted([], until=2, pause=0.05))(
            SCOPE, client.receive, client.send
        )
        return client

    assert asyncio.run(run()).body.count(sse.HEARTBEAT) >= 2


def test_an_error_in_the_frames_comes_out():
    async def run():
        client, log = Client(), []
        response = EventStreamResponse(counted(log, error=KeyError("x")))
        with pytest.raises(KeyError):
            await response(SCOPE, client.receive, client.send)
        return log

    assert asyncio.run(run()) == ["closed"]


def test_a_stopped_server_closes_the_frames():
    async def run():
        client, log = Client(), []
        response = EventStreamResponse(counted(log, until=10**9, pause=0.001))
        task = asyncio.create_task(response(SCOPE, client.receive, client.send))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return log

    assert asyncio.run(run()) == ["closed"]


def test_an_answer_is_awaited_while_the_client_is_there():
    async def run():
        client = Client()
        return await unless_gone(Request(SCOPE, client.receive), asyncio.sleep(0.01, "answer"))

    assert asyncio.run(run()) == "answer"


def test_an_answer_nobody_awaits_is_cancelled():
    async def run():
        client, log = Client(), []

        async def work():
            try:
                await asyncio.sleep(30)
            finally:
                log.append("cancelled")

        asyncio.get_running_loop().call_later(0.01, client.gone.set)
        with pytest.raises(ClientGone):
            await unless_gone(Request(SCOPE, client.receive), work())
        return log

    assert asyncio.run(run()) == ["cancelled"]


def test_a_frame_is_one_event():
    assert sse_frame({"a": "é\n"}) == b'data: {"a":"\xc3\xa9\\n"}\n\n'
    name, data, *_ = sse_frame({"a": 1}, "response.created").split(b"\n")
    assert name == b"event: response.created"
    assert json.loads(data.removeprefix(b"data: ")) == {"a": 1}
