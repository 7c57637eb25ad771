"""The built-in tools at /mcp: for MCP clients with a key, behind the guard."""

import asyncio
import importlib
import json
import logging
import socket
import sys
from contextlib import asynccontextmanager, contextmanager

import pytest
from fastapi import FastAPI
from mcp import Client

from ossia.errors import RequestError
from ossia.providers.metrics import Metrics
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.api import errors
from ossia.server.http.guard import GuardOptions
from ossia.server.http.listen import ListeningOptions
from ossia.server.mcp_endpoint import McpEndpoint
from ossia.store.api_keys import KeyFile, open_keys
from ossia.tools.mcp.connection import http_transport
from tests.providers.test_tool_sessions import lazy
from tests.server.live import live, read_answer
from tests.tools.mcp.counting import CountingToolkit

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
TAKES = "accept: application/json, text/event-stream"


@contextmanager
def serving_tools(*, keys=None, allowed=(), toolkit=None, metrics=None, options=None):
    """A guarded server whose only route is the endpoint."""
    endpoint = McpEndpoint(allowed)
    tool_sessions = ToolSessions({"browser": lazy(toolkit or CountingToolkit())})

    @asynccontextmanager
    async def run(app):
        await tool_sessions.open()
        async with endpoint.run(tool_sessions, metrics or Metrics()):
            yield
        await tool_sessions.close()

    app = FastAPI(lifespan=run)
    errors.install(app)
    app.include_router(endpoint.routes())
    guard = GuardOptions(allowed_hosts=allowed, requests_per_minute=None)
    with live(app, keys=keys, guard=guard, options=options) as server:
        yield server


@pytest.fixture
def keys(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    secrets = {
        "ann": file.add("ann", scopes=("infer", "tools"), expires_at=None),
        "bob": file.add("bob", scopes=("infer", "tools"), expires_at=None),
        "eve": file.add("eve", scopes=("infer",), expires_at=None),
    }
    return open_keys({}, file.path), secrets


def talk(server, work, secret="any"):
    """Let the published client of the protocol speak to the server."""

    async def all_of_it():
        headers = {"authorization": f"Bearer {secret}"}
        url = f"http://127.0.0.1:{server.port}/mcp"
        async with Client(http_transport(url, headers=headers)) as client:
            return await work(client)

    return asyncio.run(all_of_it())


async def counted(client, **arguments):
    """Handle and text of one call."""
    result = await client.call_tool("count_up", arguments)
    first, *rest = result.content[0].text.splitlines()
    return (first.removeprefix("session: "), *rest) if rest else (None, first)


def test_a_client_with_a_key_lists_and_calls_tools(keys, caplog):
    ring, secrets = keys
    metrics, toolkit = Metrics(), CountingToolkit()

    async def work(client):
        names = [tool.name for tool in (await client.list_tools()).tools]
        return names, await counted(client, by=41)

    with (
        caplog.at_level(logging.INFO, "ossia.audit"),
        serving_tools(keys=ring, metrics=metrics, toolkit=toolkit) as server,
    ):
        names, (handle, text) = talk(server, work, secrets["ann"])
    assert names == ["count_up", "python", "never"]
    assert text == "41"
    assert len(bytes.fromhex(handle)) == 16
    assert 'ossia_tool_calls_total{outcome="ran",tool="count"} 1.0' in metrics.text().decode()
    (line,) = [each.getMessage() for each in caplog.records if each.name == "ossia.audit"]
    assert line.startswith("mcp count.up ran ")
    assert "by" not in line
    assert toolkit.open_sessions == 0


def test_state_is_found_by_its_handle_and_by_no_other_key(keys):
    ring, secrets = keys

    async def begin(client):
        return await counted(client), await counted(client)

    with serving_tools(keys=ring) as server:
        (handle, _), (other, text) = talk(server, begin, secrets["ann"])
        assert handle != other
        assert text == "1"

        async def go_on(client):
            return await counted(client, session=handle)

        assert talk(server, go_on, secrets["ann"]) == (None, "2")
        lost = talk(server, go_on, secrets["bob"])
        assert lost[1].startswith("error: there is no such session")


def test_without_a_key_or_the_scope_nothing_is_listed(keys):
    ring, secrets = keys
    with serving_tools(keys=ring) as server:
        assert server.post(HELLO, TAKES, path="/mcp").status == 401
        eve = f"authorization: Bearer {secrets['eve']}"
        refused = server.post(HELLO, TAKES, eve, path="/mcp")
        assert (refused.status, refused.error()["code"]) == (403, "missing_scope")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_only_post_is_answered(method):
    with serving_tools() as server:
        assert server.ask(method, "/mcp", TAKES).status == 405


def hello(server, host, *fields):
    body = json.dumps(HELLO).encode()
    kind = "content-type: application/json"
    return server.ask("POST", "/mcp", kind, TAKES, *fields, body=body, host=host).status


def test_it_is_asked_by_the_names_that_are_served_and_by_no_others():
    with serving_tools(allowed=("ai.example", "box.example:8000")) as server:
        for host in ("localhost", "localhost:1", "[::1]:9", "127.0.0.1", "ai.example:5"):
            assert hello(server, host) == 200, host
        assert hello(server, "ai.example", "origin: https://ai.example") == 200
        assert hello(server, "box.example:8000") == 200
        for host in ("evil.example", "box.example:8001", "127.0.0.1.evil.example"):
            assert hello(server, host) == 421, host
        assert hello(server, "localhost", "origin: http://evil.example") == 403


def test_the_library_checks_names_by_itself():
    security = McpEndpoint(["ai.example"])._security
    assert security.enable_dns_rebinding_protection
    assert set(security.allowed_hosts) >= {"localhost:*", "127.0.0.1", "[::1]:*", "ai.example:*"}
    assert "http://[::1]:*" in security.allowed_origins
    assert not [each for each in security.allowed_hosts if each.startswith(("*", "0.0.0.0"))]


def test_what_is_no_message_is_refused_and_the_server_goes_on():
    with serving_tools() as server:
        for body in (b"{", b"[]", b"[" * 100_000, b'{"jsonrpc": "2.0"}', b"\xff"):
            kind = "content-type: application/json"
            assert 400 <= server.ask("POST", "/mcp", kind, TAKES, body=body).status < 500
        assert hello(server, "localhost") == 200


def test_tools_of_other_servers_are_not_passed_on():
    endpoint = McpEndpoint()

    async def start(box):
        await box.open()
        async with endpoint.run(box, Metrics()):
            pass

    with pytest.raises(RequestError, match="no tool to offer at /mcp: none was chosen"):
        asyncio.run(start(ToolSessions({"mcp=x": lazy(CountingToolkit())})))


def test_serve_offers_it_where_the_library_is(monkeypatch, tmp_path):
    from ossia.cli.commands.serve import ListeningChoices, _mcp_endpoint
    from ossia.cli.server_tools import ToolChoices
    from ossia.errors import MissingExtra

    assert not ToolChoices().mcp_endpoint
    assert isinstance(_mcp_endpoint(ListeningChoices()), McpEndpoint)
    for name in ("ossia.tools.mcp.serving", "ossia.server.mcp_endpoint"):
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mcp", "mcp_types")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtra, match="--mcp-endpoint needs mcp.*pip install 'ossia\\[mcp\\]'"
    ):
        _mcp_endpoint(ListeningChoices())


def test_a_unix_socket_is_asked_by_the_names_of_loopback(tmp_path):
    path = tmp_path / "s"
    body = json.dumps(HELLO).encode()
    head = ["POST /mcp HTTP/1.1", "host: localhost", TAKES, "connection: close",
            "content-type: application/json", f"content-length: {len(body)}"]  # fmt: skip
    with (
        serving_tools(options=ListeningOptions(unix_socket=path)),
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall("\r\n".join((*head, "", "")).encode() + body)
        assert read_answer(connection).status == 200


def test_a_library_that_is_there_but_broken_says_so_itself(monkeypatch):
    monkeypatch.delitem(sys.modules, "ossia.server.mcp_endpoint")
    monkeypatch.delitem(sys.modules, "mcp.server.streamable_http_manager", raising=False)
    monkeypatch.setitem(sys.modules, "anyio", None)
    with pytest.raises(ModuleNotFoundError, match="anyio"):
        importlib.import_module("ossia.server.mcp_endpoint")
