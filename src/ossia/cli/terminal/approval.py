"""Tools for one run at the terminal, and the question before a call that needs approval."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ossia.cli.terminal.terminal import harmless, is_terminal, say
from ossia.errors import OssiaError
from ossia.tools.catalog import CountTokens, choose, lazy_toolkits

if TYPE_CHECKING:
    from ossia.chat.agent_loop import PendingCall
    from ossia.chat.sync_tools import Tools

MAX_SHOWN_CHARS = 4000


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

    chosen = choose(names, notify=say)
    return Tools(*lazy_toolkits(chosen, count_tokens).values(), approve=ask_approval)


def ask_approval(pending: "PendingCall") -> bool:
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
