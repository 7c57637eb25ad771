"""Opens the tools of one run, and asks the user before a call that needs approval."""

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
    """Open the named tools; None if there are none.

    Args:
        names: as typed.
        count_tokens: of the model; not called before the model is open.

    Raises:
        RequestError: as `choose`; or a tool does not work here, with the remedy.
    """
    if not names:
        return None
    from ossia.chat.sync_tools import Tools

    chosen = choose(names, notify=say)
    return Tools(*lazy_toolkits(chosen, count_tokens).values(), approve=ask_approval)


def ask_approval(pending: "PendingCall") -> bool:
    """Ask the user to approve exactly this call; without a terminal it is denied."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    shown = harmless(pending.call.arguments)
    if len(shown) > MAX_SHOWN_CHARS:
        return False  # nobody can review it
    typer.echo(f"\nthe model wants to call {harmless(pending.spec.name)} with:\n{shown}", err=True)
    try:
        return typer.confirm("allow it?", default=False, err=True)
    except (typer.Abort, OssiaError):
        return False
