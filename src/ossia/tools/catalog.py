"""The tools that can be named: ours, and those of packages with entry points in `ossia.tools`.

To add one, write its file and an entry here, or a package with an entry point that is an `Entry`.
Nothing is started and no toolkit is imported before it is named.
"""

import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ossia.errors import RequestError
from ossia.files import index_path, state_folder

if TYPE_CHECKING:
    from ossia.tools.browser.backend import Backend
    from ossia.tools.browser.providers import SearchProvider
    from ossia.tools.python.toolkit import PythonOptions
    from ossia.tools.sessions import LazyToolkit
    from ossia.tools.tool import Toolkit

GROUP = "ossia.tools"
"""Group of entry points; each names a tool and its `Entry`."""
CONTAINER = "OSSIA_PYTHON_CONTAINER"
"""Environment variable: the command that starts a container for the python tool."""
CountTokens = Callable[[str], int]
StartToolkit = Callable[[CountTokens], Awaitable["Toolkit"]]
"""Starts a toolkit; receives the model's token counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One named tool and its circumstances."""

    value: str | None
    """The value after `NAME=`."""
    names: Sequence[str]
    """All named tools."""
    can_ask: bool
    """Whether a user can approve calls."""
    notify: Callable[[str], None]
    """Receives a line for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tool that can be named."""

    name: str
    help: str = ""
    """How it is named and what it is, for the help of `--tool`."""
    prepare: Callable[[Choice], StartToolkit]
    """Checks what the tool needs here, and raises RequestError with the remedy."""
    value: Literal["none", "optional", "required"] = "none"
    """Whether `NAME=value` is written."""
    placeholder: str = ""
    """Metavariable of a required value, for messages."""
    toolkit: str = ""
    """Entries that name the same are one toolkit; by default each is its own."""
    is_for_callers: bool = False
    """Whether API callers and MCP clients may use it, beside the user at the terminal."""

    def key(self, text: str) -> str:
        """The toolkit that `NAME` or `NAME=VALUE` means; a required value is part of its name."""
        return self.toolkit or (text if self.value == "required" else self.name)

    def takes(self, value: str | None) -> bool:
        """Whether the tool can be named with this value, or without one."""
        if value is None:
            return self.value != "required"
        return self.value != "none" and value != ""


def choose(
    names: Sequence[str],
    *,
    can_ask: bool = True,
    notify: Callable[[str], None] = lambda line: None,
) -> dict[str, StartToolkit]:
    """Look up what was named; `browser` and `web` are one browser over both.

    Args:
        names: NAME or NAME=VALUE each.
        can_ask: whether a user can approve calls; otherwise a tool whose calls always
            need it is refused.
        notify: receives lines for the operator.

    Returns:
        How to start each toolkit, by its name.

    Raises:
        RequestError: an unknown name, or one that lacks something here, with the remedy.
    """
    chosen: dict[str, StartToolkit] = {}
    for text in dict.fromkeys(names):
        name, separator, rest = text.partition("=")
        value = rest if separator else None
        entry = find(name)
        if entry is None or not entry.takes(value):
            if entry is not None:
                expected = _usage(entry)
                raise RequestError(f"tool {name} cannot be named {text!r:.60}; expected {expected}")
            expected = ", ".join(_usage(each) for each in ENTRIES)
            raise RequestError(f"no tool is called {text!r:.60}; choose from {expected}")
        key = entry.key(text)
        if key in chosen and entry.value == "optional":
            raise RequestError(f"{name} is named twice; it can be sandboxed in one way only")
        if key not in chosen:
            choice = Choice(value=value, names=names, can_ask=can_ask, notify=notify)
            chosen[key] = entry.prepare(choice)
    return chosen


def find(name: str) -> Entry | None:
    """Find the tool of this name; a built-in one is never replaced by a package's.

    Raises:
        RequestError: a package's entry point cannot be loaded, or is something else.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    from importlib.metadata import entry_points  # with email, for names that are not ours

    for point in entry_points(group=GROUP, name=name):
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise RequestError(f"the tool {name} of {point.value} is broken: {error}") from error
        if not isinstance(found, Entry) or found.name != name:
            raise RequestError(
                f"the tool {name} of {point.value} is not an ossia.tools.catalog.Entry"
            )
        return found
    return None


def help_text(*, for_callers: bool) -> str:
    """What the help of `--tool` lists: all our tools, or those that callers may have."""
    return "; ".join(each.help for each in ENTRIES if each.is_for_callers or not for_callers)


def names_for_callers() -> tuple[str, ...]:
    """Built-in tools that API callers and MCP clients may use."""
    return tuple(entry.name for entry in ENTRIES if entry.is_for_callers)


def key_for_callers(text: str) -> str | None:
    """The toolkit that `NAME` or `NAME=VALUE` means; None: API callers cannot use it."""
    entry = find(text.partition("=")[0])
    return entry.key(text) if entry is not None and entry.is_for_callers else None


def lazy_toolkits(
    chosen: Mapping[str, StartToolkit], count_tokens: CountTokens
) -> "dict[str, LazyToolkit]":
    """The toolkits that were chosen, to be started where they will be used."""
    from ossia.tools.sessions import LazyToolkit

    def lazy(start: StartToolkit) -> LazyToolkit:
        return LazyToolkit(lambda: start(count_tokens))

    return {name: lazy(start) for name, start in chosen.items()}


def has_corpus() -> bool:
    """Whether the user has indexed documents to search."""
    return index_path().is_file()


def python_options(name: str | None = None) -> "PythonOptions":
    """How cells are sandboxed: by the best sandbox that works here, or by the one that is named.

    Raises:
        RequestError: no sandbox has that name, or it needs a command that is not set.
    """
    from ossia.tools.python.sandboxes import SANDBOXES
    from ossia.tools.python.toolkit import PythonOptions

    try:
        container = tuple(shlex.split(os.environ.get(CONTAINER, "")))
    except ValueError as error:
        raise RequestError(f"{CONTAINER} is not a command: {error}") from None
    if name is None:
        return PythonOptions(container=container)
    sandbox = next((each for each in SANDBOXES if each == name), None)
    if sandbox is None:
        raise RequestError(
            f"python has no sandbox {name!r:.60}; choose from {', '.join(SANDBOXES)}"
        )
    if sandbox == "container" and not container:
        raise RequestError(
            f"python=container needs {CONTAINER}, the command that starts one: python3 and its "
            "arguments are put behind it"
        )
    return PythonOptions(sandbox=sandbox, container=container)


def search_service() -> "SearchProvider":
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


def _python(choice: Choice) -> StartToolkit:
    options = python_options(choice.value)

    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.python.toolkit import PythonToolkit

        return await PythonToolkit.start(options)

    return start


def _browser(choice: Choice) -> StartToolkit:
    has_own, has_web = "browser" in choice.names, "web" in choice.names
    if has_own and not has_corpus():
        other = "" if has_web else ", or search the web: --tool web"
        raise RequestError(
            f"the browser has nothing to search; give it pages: ossia index FOLDER{other}"
        )
    service = search_service() if has_web else None

    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.browser.backend import Combined
        from ossia.tools.browser.toolkit import BrowserToolkit

        backends = [_corpus()] if has_own else []
        if service is not None:
            if any(backend.reads_private for backend in backends):
                _warn_of_both(choice)
            backends.append(_web(service))
        return BrowserToolkit(Combined(backends), count_tokens=count_tokens)

    return start


def _warn_of_both(choice: Choice) -> None:
    """Private pages and the web in one browser: what it reads could leave by what it searches."""
    warning = (
        "some of your pages are private, and the web is a way out, so each search needs approval"
    )
    if not choice.can_ask:
        raise RequestError(f"{warning}, and here nobody can be asked; leave out browser or web")
    choice.notify(warning)


def _corpus() -> "Backend":
    from ossia.tools.browser.corpus import Corpus

    return Corpus.open(index_path())


def _web(service: "SearchProvider") -> "Backend":
    from ossia.tools.browser.fetcher import Fetcher
    from ossia.tools.browser.web import Web

    return Web(service, Fetcher())


def _patch(choice: Choice) -> StartToolkit:
    folder = Path(choice.value or "")
    if not folder.is_dir():
        raise RequestError(f"patch={folder}: there is no such folder; make it first")

    async def start(count_tokens: CountTokens) -> "Toolkit":
        from ossia.tools.patch.apply_patch import ApplyPatch

        return ApplyPatch(folder)

    return start


def _mcp(choice: Choice) -> StartToolkit:
    from ossia.tools.mcp.listing import TrustStore
    from ossia.tools.mcp.settings import read_server_file
    from ossia.tools.mcp.toolkit import McpToolkit

    servers = read_server_file(Path(choice.value or ""))

    async def start(count_tokens: CountTokens) -> "Toolkit":
        trusted = TrustStore(state_folder() / "mcp_tools.json")
        toolkit = await McpToolkit.start(servers, environ=os.environ, trusted=trusted)
        for server, problem in toolkit.problems.items():
            choice.notify(f"the MCP server {server} is not offered: {problem}")
        return toolkit

    return start


def _usage(entry: Entry) -> str:
    return f"{entry.name}={entry.placeholder}" if entry.value == "required" else entry.name


ENTRIES = (
    Entry(
        name="python",
        help="python, or python=bubblewrap to require that sandbox (see: ossia doctor)",
        prepare=_python,
        value="optional",
        is_for_callers=True,
    ),
    Entry(
        name="browser",
        help="browser: search your documents (see: ossia index)",
        prepare=_browser,
        toolkit="browser",
        is_for_callers=True,
    ),
    Entry(
        name="web",
        help="web: search the web, needs the key of a search service",
        prepare=_browser,
        toolkit="browser",
        is_for_callers=True,
    ),
    Entry(
        name="patch",
        help="patch=FOLDER: edit its files",
        prepare=_patch,
        value="required",
        placeholder="FOLDER",
    ),
    Entry(
        name="mcp",
        help="mcp=FILE: the MCP servers of an mcpServers file",
        prepare=_mcp,
        value="required",
        placeholder="FILE",
    ),
)
