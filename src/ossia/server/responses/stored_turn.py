"""A turn as stored with its Response object, as JSON: enough to continue it exactly.

Knows harmony messages and their JSON form, not the store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ossia.harmony.messages import Message
from ossia.server.responses.objects import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """One turn: its input and output."""

    model: str
    """Fingerprint of the ids' model; another model ignores them."""
    date: str
    """Date in the conversation's prompt, YYYY-MM-DD."""
    input_items: Sequence[Json] = ()
    """Input items in their listed form."""
    input_messages: Sequence[Message] = ()
    """The input as messages, restored ones with their exact ids."""
    output_messages: Sequence[Message] = ()
    calls: Mapping[str, str] = field(default_factory=dict)
    """Recipients of calls by call id: those of the input, and the output's."""
    approval_request_id: str | None = None
    """Id of its last item, if that waits for approval."""

    def to_json(self) -> str:
        """Serialize."""
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
        """Deserialize the output of `to_json`."""
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
    """The stored turns that a new one continues."""

    messages: tuple[Message, ...] = ()
    recipients: Mapping[str, str] = field(default_factory=dict)
    """Recipients of calls by call id."""
    date: str | None = None
    """Date in the conversation's prompt."""
    root: str | None = None
    """Id of its first response."""
    approval_request_id: str | None = None
    """Id of the item that still waits for approval."""

    @classmethod
    def of(cls, turns: Sequence[str], model: str) -> "PreviousTurns":
        """Read stored turns, oldest first; ids of another model are dropped."""
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
