"""`ossia mcp`: the built-in tools for another program, in a process of its own."""

import asyncio
import os
import sys

import pytest

from ossia.tools.mcp.settings import read_servers
from ossia.tools.mcp.toolkit import McpToolkit


@pytest.mark.slow
def test_another_program_searches_what_was_indexed(ossia, home, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "bees.md").write_text("# Bees\n\nBees make honey in spring.\n")
    assert ossia("index", tmp_path / "pages").code == 0
    server = {
        "command": sys.executable,
        "args": ["-m", "ossia", "mcp", "--tool", "browser"],
        "env": {"OSSIA_HOME": str(home), "PYTHONPATH": os.environ["PYTHONPATH"]},
    }

    async def searched():
        toolkit = await McpToolkit.start(
            read_servers({"mcpServers": {"ours": server}}), environ=os.environ
        )
        try:
            tools = {tool.spec.name: tool for tool in (await toolkit.open()).tools}
            found = await tools["ours.browser_search"].call('{"query": "honey"}')
            opened = await tools["ours.browser_open"].call('{"id": 0}')
            return set(tools), found.text, opened.text
        finally:
            await toolkit.close()

    names, found, opened = asyncio.run(searched())
    assert names == {"ours.browser_search", "ours.browser_open", "ours.browser_find"}
    assert "Bees" in found
    assert "Bees make honey in spring." in opened


def test_a_tool_that_cannot_be_offered_is_refused_if_it_was_asked_for(ossia):
    ran = ossia("mcp", "--tool", "browser")
    assert (ran.code, ran.out) == (1, "")
    assert "nothing to search" in ran.err


def test_an_unknown_tool_is_wrong_usage(ossia):
    ran = ossia("mcp", "--tool", "patch=.")
    assert (ran.code, ran.out) == (2, "")
    assert "'patch=.' is not offered; expected python or browser or web" in ran.err


def test_without_any_tool_there_is_nothing_to_serve(ossia, monkeypatch):
    from ossia.cli.commands import mcp

    monkeypatch.setattr(mcp, "NAMES", ("browser",))
    ran = ossia("mcp")
    assert (ran.code, ran.out) == (1, "")
    assert "browser is not offered: " in ran.err
    assert "no tool can be offered here" in ran.err


def test_without_the_library_the_extra_is_named(ossia, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("ossia.tools.mcp.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    ran = ossia("mcp")
    assert ran.code == 1
    assert "ossia mcp needs mcp, not installed; run: pip install 'ossia[mcp]'" in ran.err
