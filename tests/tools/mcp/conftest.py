"""A kit on a real server process, and ways to call it."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from ossia.tools.mcp.settings import read_servers
from ossia.tools.mcp.toolkit import McpToolkit

RAW = Path(__file__).with_name("raw_server.py")


@pytest.fixture
def settings(tmp_path):
    """Settings of one server, called raw, in a folder of its own."""

    def made(**more):
        server = {"command": sys.executable, "args": ["-I", str(RAW)], "cwd": str(tmp_path), **more}
        return {"mcpServers": {"raw": server}}

    return made


@pytest.fixture
def kit_on():
    """A kit for as long as a block lasts."""

    @contextlib.asynccontextmanager
    async def started(settings, **options):
        kit = await McpToolkit.start(read_servers(settings), **{"environ": {}, **options})
        try:
            yield kit
        finally:
            await kit.close()
            await kit.close()

    return started


@pytest.fixture
def call_all(settings, kit_on):
    """Results of several calls in one conversation."""

    def results(*calls, **more):
        async def run():
            async with kit_on(settings(**more)) as kit:
                session = await kit.open()
                tools = {tool.spec.name: tool for tool in session.tools}
                return [await tools[f"raw.{name}"].call(text) for name, text in calls]

        return asyncio.run(run())

    return results
