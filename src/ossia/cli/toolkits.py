"""The tools that a command line names, and who is asked about calls.

Every kit is imported when it is named; nothing is started here.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ossia.cli.folders import index_path, state_folder
from ossia.cli.notices import say
from ossia.cli.terminal import harmless, is_terminal
from ossia.errors import OssiaError, RequestError

if TYPE_CHECKING:
    from ossia.chat.loop import PendingCall
    from ossia.chat.tooling import Tools
    from ossia.tools.sessions import Lazy
    from ossia.tools.tool import Toolkit

NAMES = "python, browser, patch=FOLDER, mcp=FILE"
MAX_SHOWN_CHARS = 4000
CountTokens = Callable[[str], int]


def open_tools(names: list[str], count_tokens: CountTokens) -> "Tools | None":
    """Open what was named; None if nothing was.

    Args:
        names: as typed.
        count_tokens: of the model that will read pages.

    Raises:
        RequestError: an unknown name, or a tool that cannot be offered here, with the remedy.
    """
    if not names:
        return None
    from ossia.chat.tooling import Tools

    return Tools(*(kit(name, count_tokens) for name in names), approve=ask)


def kit(name: str, count_tokens: CountTokens) -> "Lazy":
    """The kit of one name."""
    from ossia.tools.sessions import Lazy

    if name == "python":
        return Lazy(_python)
    if name == "browser":
        return Lazy(lambda: _browser(count_tokens))
    if name.startswith("patch=") and (folder := name.removeprefix("patch=")):
        return Lazy(lambda: _patch(Path(folder)))
    if name.startswith("mcp=") and (file := name.removeprefix("mcp=")):
        return Lazy(lambda: _mcp(Path(file)))
    raise RequestError(f"no tool is called {name!r:.60}; choose of {NAMES}")


def has_corpus() -> bool:
    """Whether there is anything to search."""
    return index_path().is_file()


async def _python() -> "Toolkit":
    from ossia.tools.python.kit import PythonToolkit

    return await PythonToolkit.start()


async def _browser(count_tokens: CountTokens) -> "Toolkit":
    from ossia.tools.browser.corpus import Corpus
    from ossia.tools.browser.toolkit import BrowserToolkit

    if not has_corpus():
        raise RequestError("the browser has nothing to search; give it pages: ossia index FOLDER")
    return BrowserToolkit(Corpus.open(index_path()), count_tokens=count_tokens)


async def _patch(folder: Path) -> "Toolkit":
    from ossia.tools.apply_patch import ApplyPatch

    return ApplyPatch(folder)


async def _mcp(file: Path) -> "Toolkit":
    from ossia.tools.mcp.known import KnownTools
    from ossia.tools.mcp.settings import read_server_file
    from ossia.tools.mcp.toolkit import McpToolkit

    known = KnownTools(state_folder() / "mcp_tools.json")
    kit = await McpToolkit.start(read_server_file(file), environ=os.environ, known=known)
    for server, problem in kit.problems.items():
        say(f"the MCP server {server} is not offered: {problem}")
    return kit


def ask(pending: "PendingCall") -> bool:
    """Ask at the terminal about exactly this call; without one the answer is no."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    shown = harmless(pending.call.arguments)
    if len(shown) > MAX_SHOWN_CHARS:
        return False  # what cannot be read cannot be allowed
    typer.echo(f"\nthe model wants to call {harmless(pending.spec.name)} with:\n{shown}", err=True)
    try:
        return typer.confirm("allow it?", default=False, err=True)
    except (typer.Abort, OssiaError):
        return False
