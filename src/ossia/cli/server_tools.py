"""Which tools `ossia serve` lets its callers use: the operator's choice, never a request's."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ossia.cli.options import TOOLS
from ossia.cli.terminal.terminal import say
from ossia.errors import RequestError
from ossia.tools.catalog import (
    CountTokens,
    choose,
    has_corpus,
    key_for_callers,
    lazy_toolkits,
    names_for_callers,
)

if TYPE_CHECKING:
    from ossia.tools.sessions import LazyToolkit


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoices:
    """What the model may be given to call here."""

    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="python, or python=bubblewrap to demand that sandbox (see: ossia doctor); "
            "browser: your pages (see: ossia index); web: the open web, by the search service you "
            "have a key for. May be repeated; by default python and browser, where they work.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    no_tools: Annotated[
        bool,
        typer.Option("--no-tools", help="Offer none but those of --mcp.", rich_help_panel=TOOLS),
    ] = False
    mcp: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="MCP servers whose tools callers may use: an mcpServers file.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    mcp_endpoint: Annotated[
        bool,
        typer.Option(
            "--mcp-endpoint",
            help="Offer python and the browser to MCP clients as well, at /mcp.",
            rich_help_panel=TOOLS,
        ),
    ] = False

    def toolkits(self, count_tokens: CountTokens) -> "dict[str, LazyToolkit]":
        """The toolkits, to be started with the server.

        Raises:
            RequestError: what was named is no tool for callers, or lacks something here.
        """
        return lazy_toolkits(choose(self._names(), can_ask=False, notify=say), count_tokens)

    @property
    def demanded(self) -> frozenset[str]:
        """Toolkits without which the server must not start: those that were named."""
        return frozenset(filter(None, map(key_for_callers, self.tool or ())))

    def _names(self) -> list[str]:
        names = list(self.tool or ())
        if names and self.no_tools:
            raise RequestError("--tool names tools, and --no-tools forbids them; leave one out")
        for name in names:
            if key_for_callers(name) is None:
                expected = ", ".join(names_for_callers())
                raise RequestError(f"callers get no tool {name!r:.60}; choose of {expected}")
        if not names and not self.no_tools:
            names = ["python", *(["browser"] if has_corpus() else [])]
        if self.mcp is not None:
            names.append(f"mcp={self.mcp}")
        return names
