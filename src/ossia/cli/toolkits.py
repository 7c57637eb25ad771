"""The tools that a command line names, and who is asked about calls.

What a name needs is looked for when it is read; nothing is started here, and every kit is
imported when it is named.
"""

import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

from ossia.cli.notices import say
from ossia.cli.options import CONTAINER
from ossia.cli.terminal.terminal import harmless, is_terminal
from ossia.errors import OssiaError, RequestError
from ossia.files import index_path, state_folder

if TYPE_CHECKING:
    from ossia.chat.agent_loop import PendingCall
    from ossia.chat.sync_tools import Tools
    from ossia.tools.browser.backend import Backend
    from ossia.tools.browser.providers import Provider
    from ossia.tools.python.toolkit import PythonOptions
    from ossia.tools.sessions import Lazy
    from ossia.tools.tool import Toolkit

NAMES = "python, browser, web, patch=FOLDER, mcp=FILE"
PAGES = ("browser", "web")
"""What the one browser of the model can search: the pages of `ossia index`, the open web."""
MAX_SHOWN_CHARS = 4000
CountTokens = Callable[[str], int]
Start = Callable[[CountTokens], Awaitable["Toolkit"]]
"""Starts a kit; it counts tokens as the model that will read its pages."""


def choose(names: Sequence[str], *, can_ask: bool = True) -> dict[str, Start]:
    """What was named, and how to start it; `browser` and `web` are one browser over both.

    Args:
        names: as typed.
        can_ask: whether somebody can be asked for a yes; else what always needs one is refused.

    Raises:
        RequestError: an unknown name, or one that lacks something here, with the remedy.
    """
    pages = [name for name in PAGES if name in names]
    chosen: dict[str, Start] = {}
    for name in dict.fromkeys(names):
        kind, _, rest = name.partition("=")
        key = "browser" if name in PAGES else "python" if kind == "python" else name
        if key == "python" and key in chosen:
            raise RequestError("python is named twice; it can be walled in one way only")
        if key not in chosen:
            chosen[key] = _start(kind, rest if "=" in name else None, pages, can_ask=can_ask)
    return chosen


def open_tools(names: Sequence[str], count_tokens: CountTokens) -> "Tools | None":
    """Open what was named; None if nothing was.

    Args:
        names: as typed.
        count_tokens: of the model that will read pages; not called before there is one.

    Raises:
        RequestError: as `choose`; or a tool that cannot be offered here, with the remedy.
    """
    if not names:
        return None
    from ossia.chat.sync_tools import Tools

    return Tools(*lazy_kits(choose(names), count_tokens).values(), approve=ask)


def lazy_kits(chosen: Mapping[str, Start], count_tokens: CountTokens) -> "dict[str, Lazy]":
    """The kits that were chosen, to be started where they will be used."""
    from ossia.tools.sessions import Lazy

    def lazy(start: Start) -> Lazy:
        return Lazy(lambda: start(count_tokens))

    return {name: lazy(start) for name, start in chosen.items()}


def has_corpus() -> bool:
    """Whether there are pages of the user's own to search."""
    return index_path().is_file()


def python_options(wall: str | None = None) -> "PythonOptions":
    """How cells are to be walled in: the best way that holds here, or the one that is named.

    Raises:
        RequestError: no wall has that name, or it needs a command that is not set.
    """
    from ossia.tools.python.sandboxes import TIERS, Tier
    from ossia.tools.python.toolkit import PythonOptions

    try:
        container = tuple(shlex.split(os.environ.get(CONTAINER, "")))
    except ValueError as error:
        raise RequestError(f"{CONTAINER} is no command: {error}") from None
    if wall is None:
        return PythonOptions(container=container)
    tier = next((each for each in get_args(Tier) if each == wall and each in TIERS), None)
    if tier is None:
        raise RequestError(f"python has no wall {wall!r:.60}; choose of {', '.join(TIERS)}")
    if tier == "container" and not container:
        raise RequestError(
            f"python=container needs {CONTAINER}, the command that starts one: python3 and its "
            "arguments are put behind it"
        )
    return PythonOptions(tier=tier, container=container)


def search_service() -> "Provider":
    """The web search that the environment has a key for.

    Raises:
        RequestError: it has none; or what it has cannot be right.
    """
    from ossia.tools.browser.providers import SERVICES, configured

    service = configured(os.environ)
    if service is None:
        raise RequestError(
            f"web needs a search service; set one of {', '.join(SERVICES)}. "
            "Your own pages need none: ossia index FOLDER, then --tool browser"
        )
    return service


def _start(kind: str, value: str | None, pages: Sequence[str], *, can_ask: bool) -> Start:
    if kind == "python" and value != "":
        return _python(python_options(value))
    if kind in PAGES and value is None:
        return _browser(pages, can_ask=can_ask)
    if kind == "patch" and value:
        return _patch(Path(value))
    if kind == "mcp" and value:
        return _mcp(Path(value))
    name = kind if value is None else f"{kind}={value}"
    raise RequestError(f"no tool is called {name!r:.60}; choose of {NAMES}")


def _python(options: "PythonOptions") -> Start:
    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.python.toolkit import PythonToolkit

        return await PythonToolkit.start(options)

    return start


def _browser(pages: Sequence[str], *, can_ask: bool) -> Start:
    if "browser" in pages and not has_corpus():
        other = "" if "web" in pages else ", or search the web: --tool web"
        raise RequestError(
            f"the browser has nothing to search; give it pages: ossia index FOLDER{other}"
        )
    service = search_service() if "web" in pages else None

    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.browser.backend import Combined
        from ossia.tools.browser.toolkit import BrowserToolkit

        backends = [_corpus()] if "browser" in pages else []
        if service is not None:
            if any(backend.reads_private for backend in backends):
                _warn_of_both(can_ask=can_ask)
            backends.append(_web(service))
        return BrowserToolkit(Combined(backends), count_tokens=count_tokens)

    return start


def _warn_of_both(*, can_ask: bool) -> None:
    """Private pages and the web in one browser: what it reads could leave by what it searches."""
    told = "some of your pages are private, and the web is a way out, so each search needs a yes"
    if not can_ask:
        raise RequestError(f"{told}, and here nobody can be asked; leave out browser or web")
    say(told)


def _corpus() -> "Backend":
    from ossia.tools.browser.corpus import Corpus

    return Corpus.open(index_path())


def _web(service: "Provider") -> "Backend":
    from ossia.tools.browser.fetcher import Fetcher
    from ossia.tools.browser.web import Web

    return Web(service, Fetcher())


def _patch(folder: Path) -> Start:
    if not folder.is_dir():
        raise RequestError(f"patch={folder}: there is no such folder; make it first")

    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.patch.apply_patch import ApplyPatch

        return ApplyPatch(folder)

    return start


def _mcp(file: Path) -> Start:
    from ossia.tools.mcp.known import KnownTools
    from ossia.tools.mcp.settings import read_server_file
    from ossia.tools.mcp.toolkit import McpToolkit

    servers = read_server_file(file)

    async def start(count_tokens: CountTokens) -> "Toolkit":
        known = KnownTools(state_folder() / "mcp_tools.json")
        kit = await McpToolkit.start(servers, environ=os.environ, known=known)
        for server, problem in kit.problems.items():
            say(f"the MCP server {server} is not offered: {problem}")
        return kit

    return start


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
