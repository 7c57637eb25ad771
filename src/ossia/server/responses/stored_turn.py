"""A turn as it is stored beside its Response object, as JSON: enough to go on from it exactly.

It knows harmony messages and how they are written down; it knows no store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ossia.harmony.messages import Message
from ossia.server.responses.objects import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """One turn: what came in, and what was written."""

    model: str
    """What the ids mean; with another model they are not used."""
    date: str
    """The day the conversation began, YYYY-MM-DD."""
    input_items: Sequence[Json] = ()
    """As they are listed."""
    input_messages: Sequence[Message] = ()
    """The input as messages, those of ours with their exact ids."""
    output_messages: Sequence[Message] = ()
    calls: Mapping[str, str] = field(default_factory=dict)
    """Whom each call went to, by call id: those of the input, and the one that was written."""
    approval_request_id: str | None = None
    """Of the item with which it ended, if that waits for an approval."""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(
            {
                "model": self.model,
                "date": self.date,
                "listed": list(self.input_items),
                "said": [message.to_json() for message in self.input_messages],
                "wrote": [message.to_json() for message in self.output_messages],
                "calls": dict(self.calls),
                "asked": self.approval_request_id,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "StoredTurn":
        """What `to_json` wrote."""
        row = json.loads(text)
        return cls(
            model=row["model"],
            date=row["date"],
            input_items=row["listed"],
            input_messages=tuple(map(Message.from_json, row["said"])),
            output_messages=tuple(map(Message.from_json, row["wrote"])),
            calls=row["calls"],
            approval_request_id=row.get("asked"),
        )


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
    approval_request_id: str | None = None
    """Of the item that still waits for an approval."""

    @classmethod
    def of(cls, turns: Sequence[str], model: str) -> "PreviousTurns":
        """Read stored turns, the oldest first; ids of another model are left out."""
        found = [StoredTurn.from_json(turn) for turn in turns]
        messages: list[Message] = []
        recipients: dict[str, str] = {}
        for turn in found:
            new = [*turn.input_messages, *turn.output_messages]
            messages += new if turn.model == model else map(_without_ids, new)
            recipients |= turn.calls
        return cls(
            tuple(messages),
            recipients,
            found[0].date,
            approval_request_id=found[-1].approval_request_id,
        )


def _without_ids(message: Message) -> Message:
    return replace(message, sampled_ids=None)
