"""What is kept of a turn beside its Response object, as JSON: enough to go on from it exactly.

It knows harmony messages and how they are written down; it knows no store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ossia.harmony.messages import Message
from ossia.server.responses.objects import Json

_FIELDS = ("role", "content", "channel", "recipient", "name", "content_type", "sampled_ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """One turn: what came in, and what was written."""

    model: str
    """What the ids mean; with another model they are not used."""
    date: str
    """The day the conversation began, YYYY-MM-DD."""
    listed: Sequence[Json] = ()
    """The input items, as they are listed."""
    said: Sequence[Message] = ()
    """The input as messages, those of ours with their exact ids."""
    wrote: Sequence[Message] = ()
    calls: Mapping[str, str] = field(default_factory=dict)
    """Whom each call went to, by call id: those of the input, and the one that was written."""
    asked: str | None = None
    """Id of the item with which it ended, if that asks for a yes."""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(
            {
                "model": self.model,
                "date": self.date,
                "listed": list(self.listed),
                "said": [_written(message) for message in self.said],
                "wrote": [_written(message) for message in self.wrote],
                "calls": dict(self.calls),
                "asked": self.asked,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "StoredTurn":
        """What `to_json` wrote."""
        kept = json.loads(text)
        messages = {name: tuple(map(_read, kept[name])) for name in ("said", "wrote")}
        return cls(**{**kept, **messages})


@dataclass(frozen=True, slots=True)
class PreviousTurns:
    """The turns that a new one goes on from."""

    messages: tuple[Message, ...] = ()
    recipients: Mapping[str, str] = field(default_factory=dict)
    """Whom each call went to, by call id."""
    date: str | None = None
    """The day the conversation began."""
    root: str | None = None
    """Id of its first response."""
    asked: str | None = None
    """Id of the item that still asks for a yes."""

    @classmethod
    def of(cls, turns: Sequence[str], model: str) -> "PreviousTurns":
        """Read stored turns, the oldest first; ids of another model are left out."""
        found = [StoredTurn.from_json(turn) for turn in turns]
        messages: list[Message] = []
        recipients: dict[str, str] = {}
        for turn in found:
            new = [*turn.said, *turn.wrote]
            messages += new if turn.model == model else map(_without_ids, new)
            recipients |= turn.calls
        return cls(tuple(messages), recipients, found[0].date, asked=found[-1].asked)


def _written(message: Message) -> list[Any]:
    return [getattr(message, name) for name in _FIELDS]


def _read(values: list[Any]) -> Message:
    fields = dict(zip(_FIELDS, values, strict=True))
    for name in ("content", "sampled_ids"):
        if isinstance(fields[name], list):
            fields[name] = tuple(fields[name])
    return Message(**fields)


def _without_ids(message: Message) -> Message:
    return replace(message, sampled_ids=None)
