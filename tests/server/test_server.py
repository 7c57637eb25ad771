"""The server put together in this process: what starts and stops with it."""

import asyncio
import json
import time
from pathlib import Path

import httpx2
import pytest

from benchmarks.server_storms import NUMBERS
from ossia.engine.options import LoadOptions
from ossia.errors import RequestError
from ossia.server.app import Server, Serving
from ossia.server.http.drain import Drain
from ossia.server.http.guard import Guard, GuardOptions
from ossia.server.http.listen import Listening, ListeningOptions
from ossia.store.api_keys import open_keys
from ossia.tools.python.self_test import SandboxReport
from ossia.tools.sessions import LazyToolkit
from tests.providers.test_tool_sessions import lazy, refused
from tests.tools.test_sessions import FakeToolkit

SUM = {"input": "What is 37 + 48?", "temperature": 0}


def run(test, model="nano", **serving):
    """Serve in this process while a test runs; gives its result and the server."""
    listening = Listening(ListeningOptions(port=0), keyed=False)
    drain, reported = Drain(5.0), []
    server = Server(
        Serving(load_options=LoadOptions(model=model), **serving),
        drain,
        progress=lambda phase, share: reported.append(phase),
        opened=lambda provider: reported.append("opened"),
    )
    guard = Guard(server.app, options=GuardOptions(), keys=open_keys({}, None), drain=drain)

    async def whole():
        started = asyncio.Event()
        serving = asyncio.create_task(listening.serve(guard, drain, started=started.set))
        await started.wait()
        try:
            async with httpx2.AsyncClient(base_url=listening.addresses[0], timeout=30) as client:
                return await test(client, server, drain)
        finally:
            drain.begin(time.monotonic())
            await serving

    return asyncio.run(whole()), server, reported


async def ready(client):
    for _ in range(2000):
        if (await client.get("/health/ready")).status_code == 200:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it is not ready")


def test_requests_wait_for_nothing_while_the_model_is_opened():
    async def test(client, server, drain):
        early = await client.post("/v1/responses", json=SUM)
        health = await client.get("/health")
        await ready(client)
        late = await client.post("/v1/responses", json=SUM)
        return early, health, late, await client.get("/health"), await client.get("/version")

    (early, health, late, later, version), _, reported = run(test)
    assert (early.status_code, early.json()["error"]["code"]) == (503, "loading")
    assert early.headers["retry-after"]
    assert (health.status_code, health.json()["status"]) == (503, "loading")
    assert late.json()["output"][-1]["content"][0]["text"] == "85"
    assert later.json()["model"] == "nano"
    assert version.json()["version"]
    assert reported[-1] == "opened"


def test_a_model_that_cannot_be_opened_ends_the_server(tmp_path):
    async def test(client, server, drain):
        while not drain.begun:
            await asyncio.sleep(0.01)

    _, server, _ = run(test, model=str(tmp_path))
    assert "config.json" in str(server.failure)


def test_when_the_grace_is_over_streams_end_with_an_event_of_their_own():
    shape = {"format": {"type": "json_schema", "name": "n", "schema": NUMBERS}}

    async def test(client, server, drain):
        await ready(client)
        kinds = []
        body = {"input": "Numbers?", "stream": True, "text": shape}
        async with client.stream("POST", "/v1/responses", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                if len(kinds) == 4:
                    drain.last_call.set()
        return kinds

    kinds, _, _ = run(test)
    assert kinds[-1] == "response.failed"


def test_tools_are_started_with_the_server_and_ended_with_it():
    toolkit = FakeToolkit("python")
    toolkit.report = SandboxReport(sandbox="landlock", passed_over=("bubblewrap: not installed",))

    async def test(client, server, drain):
        await ready(client)
        reported = (await client.get("/health")).json()
        return reported["tools"], reported["walls"], (await client.get("/debug/tools")).json()

    (tools, walls, details), _, _ = run(
        test, toolkits={"python": lazy(toolkit), "browser": LazyToolkit(refused)}
    )
    assert tools == details["offered"] == ["python"]
    assert walls == {"python": "reduced"}
    assert details["walls"]["python"] == json.loads(json.dumps(toolkit.report.to_dict()))
    assert details["refused"] == {"browser": "no sandbox here"}
    assert toolkit.log == ["toolkit closed"]


def test_a_server_ends_before_it_begins_without_a_tool_that_was_demanded():
    toolkit = FakeToolkit("python")
    toolkits = {"python": lazy(toolkit), "browser": LazyToolkit(refused)}
    serving = Serving(
        load_options=LoadOptions(model="nano"), toolkits=toolkits, required=frozenset({"browser"})
    )
    app = Server(serving, Drain(5.0)).app

    async def start():
        async with app.router.lifespan_context(app):
            raise AssertionError("it must not come so far")

    with pytest.raises(RequestError, match="no sandbox here"):
        asyncio.run(start())
    assert toolkit.log == ["toolkit closed"]


def test_a_stuck_engine_is_not_ready():
    async def test(client, server, drain):
        await ready(client)
        server.provider._last_heartbeat -= 60
        return (await client.get("/health/ready")).json(), (await client.get("/health/live"))

    (reported, live), _, _ = run(test)
    assert reported == {"status": "stuck"}
    assert live.status_code == 200


def test_what_is_stored_outlives_the_server(tmp_path: Path):
    async def write(client, server, drain):
        await ready(client)
        return (await client.post("/v1/responses", json=SUM)).json()

    async def read(client, server, drain):
        return (await client.get(f"/v1/responses/{stored['id']}")).json()

    where = {"store": tmp_path / "r.db", "state_folder": tmp_path}
    stored, _, _ = run(write, **where)
    assert run(read, **where)[0] == stored


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json"])
def test_what_describes_the_server_is_there(path):
    async def test(client, server, drain):
        await ready(client)
        return await client.get(path)

    assert run(test)[0].status_code == 200
