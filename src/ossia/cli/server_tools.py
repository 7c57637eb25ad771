"""The tools that `ossia serve` offers: chosen by the operator, never by a request."""

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
    help_text,
    key_for_callers,
    lazy_toolkits,
    names_for_callers,
)

if TYPE_CHECKING:
    from ossia.tools.sessions import LazyToolkit


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoices:
    """The options that choose the server's tools."""

    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{help_text(for_callers=True)}. May be repeated; by default python and browser, "
            "where they work.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    no_tools: Annotated[
        bool,
        typer.Option(
            "--no-tools", help="Offer no tools but those of --mcp.", rich_help_panel=TOOLS
        ),
    ] = False
    mcp: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Offer the tools of the MCP servers in an mcpServers file.",
            rich_help_panel=TOOLS,
        ),
    ] = None
    mcp_endpoint: Annotated[
        bool,
        typer.Option(
            "--mcp-endpoint",
            help="Serve these tools to MCP clients too, at /mcp; none of --mcp.",
            rich_help_panel=TOOLS,
        ),
    ] = False

    def toolkits(self, count_tokens: CountTokens) -> "dict[str, LazyToolkit]":
        """The toolkits, which start with the server.

        Raises:
            RequestError: a tool is unknown, not offered to callers, or lacks something here.
        """
        return lazy_toolkits(choose(self._names(), can_ask=False, notify=say), count_tokens)

    @property
    def required(self) -> frozenset[str]:
        """Toolkits that must work for the server to start: those named by --tool."""
        return frozenset(filter(None, map(key_for_callers, self.tool or ())))

    def _names(self) -> list[str]:
        names = list(self.tool or ())
        if names and self.no_tools:
            raise RequestError("--tool names tools, and --no-tools forbids them; leave one out")
        for name in names:
            if key_for_callers(name) is None:
                expected = ", ".join(names_for_callers())
                raise RequestError(
                    f"a server cannot offer the tool {name!r:.60}; choose from {expected}"
                )
        if not names and not self.no_tools:
            names = ["python", *(["browser"] if has_corpus() else [])]
        if self.mcp is not None:
            names.append(f"mcp={self.mcp}")
        return names
