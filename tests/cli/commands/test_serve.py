"""`ossia serve` and `ossia ps`, as they are typed; what is served is tested in tests/server."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from mcp import Client

from benchmarks.serving import Served
from ossia.cli.commands import ps
from ossia.cli.commands.ps import RunningServer, registered, running_servers
from ossia.tools.mcp.connection import http_transport


def test_a_server_says_where_it_listens_and_is_listed_until_it_ends(ossia, tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path))
    with Served(home=tmp_path) as server:
        output = "\n".join(server.lines)
        assert "nano is ready: 2048 tokens of context" in output
        (listed,) = json.loads(ossia("ps", "--json").out)["servers"]
        assert (listed["pid"], listed["model"], listed["status"]) == (server.pid, "nano", "ready")
        assert listed["addresses"][0] == server.address
        shown = ossia("ps").out.splitlines()
        assert shown[0].split()[:3] == ["PID", "MODEL", "STATUS"]
        assert shown[1].split()[:3] == [str(server.pid), "nano", "ready"]
        assert server.stop() == 0
    ran = ossia("ps")
    assert (ran.code, ran.out) == (0, "")
    assert "start one: ossia serve" in ran.err


def test_beyond_loopback_a_key_is_needed(ossia):
    ran = ossia("serve", "--host", "0.0.0.0", "--port", 0)
    assert ran.code == 2
    assert "ossia keys add" in ran.err


def test_a_port_in_use_is_said_at_once(ossia):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = ossia("serve", "--port", taken.getsockname()[1])
    assert ran.code == 1
    assert "in use" in ran.err


def test_a_model_that_cannot_be_opened_ends_the_server_with_the_reason(ossia, tmp_path):
    ran = ossia("serve", "--port", 0, "-m", tmp_path)
    assert ran.code == 1
    assert "config.json" in ran.err
    assert ran.err.count("\n") == 1


def test_what_a_killed_server_left_behind_is_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    with registered(RunningServer(os.getpid(), "nano", ("http://127.0.0.1:1",), time.time())):
        folder = ps.state_folder() / ps.FOLDER
        (folder / "1.json").write_text("{")
        (folder / f"{ended.pid}.json").write_text(
            json.dumps({"pid": ended.pid, "model": "m", "addresses": ["a"], "started": 1})
        )
        assert [each.pid for each in running_servers()] == [os.getpid()]
        assert [each.name for each in folder.iterdir()] == [f"{os.getpid()}.json"]
    assert running_servers() == []


def test_a_server_that_does_not_answer_is_shown_as_silent(ossia, tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path))
    with registered(RunningServer(os.getpid(), "nano", ("http://127.0.0.1:9",), time.time())):
        (listed,) = json.loads(ossia("ps", "--json").out)["servers"]
    assert (listed["status"], listed["running"]) == ("silent", None)


def test_a_folder_that_cannot_be_written_lists_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path / "file"))
    with registered(RunningServer(1, "nano", ("a",), 0.0)):
        assert running_servers() == []


@pytest.mark.slow
def test_mcp_clients_find_the_tools_where_the_server_says(ossia, tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path))
    (tmp_path / "bees.md").write_text("# Bees\n\nBees make honey in spring.\n")
    assert ossia("index", tmp_path).code == 0

    async def searched(url):
        async with Client(http_transport(url, headers={})) as client:
            return (await client.call_tool("browser_search", {"query": "honey"})).content[0].text

    with Served("--mcp-endpoint", "--tool", "browser", home=tmp_path) as server:
        assert "Bees" in asyncio.run(searched(f"{server.address}/mcp"))
        assert server.stop() == 0
    assert [line.split()[-1] for line in server.lines if "/mcp" in line] == [
        f"{server.address}/mcp"
    ]


@pytest.mark.slow
def test_a_unix_socket_serves_its_owner(ossia, tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path))
    path = tmp_path / "s"
    process = subprocess.Popen(
        [sys.executable, "-m", "ossia", "serve", "--unix-socket", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any(f"listening on unix:{path}" in line for line in process.stderr)
        (listed,) = json.loads(ossia("ps", "--json").out)["servers"]
        assert listed["status"] == "ready"
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        process.communicate(timeout=30)
