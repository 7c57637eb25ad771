"""A toolkit on a real server process, and ways to call it."""

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
def toolkit_on():
    """A toolkit for as long as a block lasts."""

    @contextlib.asynccontextmanager
    async def started(settings, **options):
        toolkit = await McpToolkit.start(read_servers(settings), **{"environ": {}, **options})
        try:
            yield toolkit
        finally:
            await toolkit.close()
            await toolkit.close()

    return started


@pytest.fixture
def call_all(settings, toolkit_on):
    """Results of several calls in one conversation."""

    def results(*calls, **more):
        async def run():
            async with toolkit_on(settings(**more)) as toolkit:
                session = await toolkit.open()
                tools = {tool.spec.name: tool for tool in session.tools}
                return [await tools[f"raw.{name}"].call(text) for name, text in calls]

        return asyncio.run(run())

    return results
