"""What one request allows in the model's output, and the events of parsing it.

The kinds of message an assistant may write stand here: who reads them, how they end, their types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ossia.errors import RequestError
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

CHOICES = ("auto", "none", "required")
MAX_RECIPIENTS = 1024
_ADDRESS = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})?")
_KINDS = ("json", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRules:
    """The rules for the output of one request."""

    recipients: Mapping[str, str]
    """Content kind, json or text, of each recipient by its full name, such as functions.f."""
    choice: str = "auto"
    """auto, none, required, or the name of the one recipient to call."""
    final_kind: str = "text"
    """text, or json where the answer must be JSON."""
    allow_analysis: bool = True
    """Whether reasoning messages are legal."""
    max_messages: int = 16
    """Limit of reasoning messages and preambles; then only a call or the answer is legal."""

    def __post_init__(self) -> None:
        """Refuse rules under which no output could be finished."""
        if len(self.recipients) > MAX_RECIPIENTS:
            raise RequestError(f"{len(self.recipients)} tools are offered, over {MAX_RECIPIENTS}")
        for name, kind in self.recipients.items():
            if not _ADDRESS.fullmatch(name):
                raise RequestError(
                    f"the recipient {name!r:.80} is not a name, nor namespace and name"
                )
            _check_kind(kind, f"the content kind of {name}")
        _check_kind(self.final_kind, "the content kind of the answer")
        if self.choice not in CHOICES and self.choice not in self.recipients:
            raise RequestError(
                f"the tool choice is {self.choice!r:.80}; expected one of {', '.join(CHOICES)} "
                "or the name of an offered tool"
            )
        if self.choice == "required" and not self.recipients:
            raise RequestError("a tool call is required, but no tool is offered; offer one")
        if not 1 <= self.max_messages <= 1024:
            raise RequestError(f"max_messages is {self.max_messages}; it must be from 1 to 1024")

    @property
    def callable(self) -> Mapping[str, str]:
        """The recipients that may be called, given the choice."""
        if self.choice == "none":
            return {}
        if self.choice in CHOICES:
            return self.recipients
        return {self.choice: self.recipients[self.choice]}

    @property
    def may_answer(self) -> bool:
        """Whether the final channel is legal."""
        return self.choice in ("auto", "none")


def _check_kind(kind: str, what: str) -> None:
    if kind not in _KINDS:
        raise RequestError(f"{what} is {kind!r:.40}; expected json or text")


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """A message's content begins."""

    channel: str
    recipient: str | None


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """Decoded text of the open message; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """The open message ended: by its terminator, or cut where the ids stop."""

    kind: Literal["end", "return", "call", "cut"]


HarmonyEvent = MessageStarted | ContentDelta | MessageEnded


def terminator_of(channel: str, recipient: str | None) -> Terminator:
    """How a message of this kind ends."""
    if recipient is not None:
        return "call"
    return "return" if channel == "final" else "end"


def may_be_empty(channel: str, recipient: str | None) -> bool:
    """Whether the content may be empty: only reasoning may."""
    return channel == "analysis" and recipient is None


def is_shown(channel: str, recipient: str | None) -> bool:
    """Whether the message is for the user: an answer, or a preamble to calls."""
    return recipient is None and channel in ("final", "commentary")
