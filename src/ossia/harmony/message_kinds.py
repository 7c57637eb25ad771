"""The kinds of message an assistant may write: who reads them, how they end, what types they bear.

The one table behind both the masking and the reading of output; knows no token id.
"""

from collections.abc import Mapping
from typing import Literal

from ossia.harmony.messages import Channel

Terminator = Literal["end", "return", "call"]

CHANNELS: tuple[Channel, ...] = ("analysis", "commentary", "final")
CALL_CHANNELS: tuple[Channel, ...] = ("analysis", "commentary")
"""Built-in tools were trained on analysis, functions on commentary; in practice both mix."""

CONSTRAIN = "<|constrain|>"
_JSON = (" json", f" {CONSTRAIN}json", f"{CONSTRAIN}json")
TYPES_OF_CALL: Mapping[str, tuple[str, ...]] = {"json": (*_JSON, " code"), "text": (" code",)}
"""By the recipient's content kind; a type is decoration, the recipient decides the rules."""

TYPES_OF_FINAL: Mapping[str, tuple[str, ...]] = {"json": _JSON, "text": ()}


def terminator_of(channel: str, recipient: str | None) -> Terminator:
    """How a message of this kind ends."""
    if recipient is not None:
        return "call"
    return "return" if channel == "final" else "end"


def may_be_empty(channel: str, recipient: str | None) -> bool:
    """Whether the message may end before its content has an id: only a thought may."""
    return channel == "analysis" and recipient is None


def is_shown(channel: str, recipient: str | None) -> bool:
    """Whether the message is for the user: an answer, or a preamble to calls."""
    return recipient is None and channel in ("final", "commentary")
