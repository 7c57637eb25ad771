"""`ossia mcp`: serve the built-in tools to other programs by the Model Context Protocol."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from ossia.cli.terminal.terminal import say
from ossia.errors import OssiaError, RequestError
from ossia.tools.catalog import choose, help_text, key_for_callers, names_for_callers

if TYPE_CHECKING:
    from ossia.harmony.tokenizer import Tokenizer
    from ossia.tools.tool import Toolkit

EXAMPLES = """
ossia mcp
ossia mcp --tool python
ossia mcp --tool browser --tool web
"""
NAMES = ("python", "browser")
"""The default tools."""


def command(
    *,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{help_text(for_callers=True)}. May be repeated; by default python and browser.",
        ),
    ] = None,
) -> None:
    """Serve the built-in tools to an MCP client, over stdin and stdout.

    Nobody can approve calls this way, so a call that needs approval is refused.
    """
    for name in tool or ():
        if key_for_callers(name) is None:
            expected = " or ".join(names_for_callers())
            raise typer.BadParameter(f"{name!r:.60} is not offered; expected {expected}")
    import asyncio
    import sys

    from ossia.tools.mcp.serving import serve_stdio

    async def serve() -> None:
        toolkits = await _started(tool or NAMES, is_choice=bool(tool))
        if sys.stdin.isatty():
            say("waits for an MCP client on stdin; name `ossia mcp` in the client's own settings")
        try:
            await serve_stdio(toolkits)
        finally:
            await _closed(toolkits)

    asyncio.run(serve())


async def _started(names: Sequence[str], *, is_choice: bool) -> list["Toolkit"]:
    """Start these toolkits; a default one may fail, but not all of them."""
    toolkits: list[Toolkit] = []
    wanted = [names] if is_choice else [[name] for name in names]
    try:
        for together in wanted:
            try:
                for start in choose(together, can_ask=False, notify=say).values():
                    toolkits.append(await start(_count_tokens))
            except OssiaError as error:
                if is_choice:
                    raise
                say(f"{together[0]} is not offered: {error}")
        if not toolkits:
            raise RequestError("no tool can be offered here; see the reasons above")
    except BaseException:
        await _closed(toolkits)
        raise
    return toolkits


async def _closed(toolkits: Sequence["Toolkit"]) -> None:
    from ossia.tools.sessions import close_toolkit

    for each in toolkits:
        await close_toolkit(each)


@cache
def _tokenizer() -> "Tokenizer":
    from ossia.harmony.tokenizer import Tokenizer

    return Tokenizer.o200k_harmony()


def _count_tokens(text: str) -> int:
    """Count tokens as gpt-oss does; the size of a shown page depends on it."""
    return len(_tokenizer().encode(text))
