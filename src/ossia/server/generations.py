"""What was sampled in one go, and how a client's copy of it is recognised. Pure: no store, no wire.

A generation is thoughts and preambles, and then, if it was not cut, one call or one answer: its
end. The end is what a client always sends back; the rest may come edited, renamed, or not at all.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ossia.harmony.messages import Message
from ossia.server.history import Said


@dataclass(frozen=True, slots=True)
class Generation:
    """The messages of one generation, in order."""

    model: str
    """What their ids mean."""
    said: tuple[Said, ...]

    def to_json(self) -> str:
        """As text, to be stored."""
        messages = [_row(one) for one in self.said]
        return json.dumps([self.model, messages], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Generation":
        """What `to_json` wrote."""
        model, messages = json.loads(text)
        return cls(model, tuple(_said(*each) for each in messages))

    def end_like(self, theirs: Message) -> int | None:
        """Where this generation ends as `theirs` does; None where it does not."""
        for at, ours in enumerate(self.said):
            if same(theirs, ours.message) or (at and self.is_joined(theirs, at)):
                return at
        return None

    def is_joined(self, theirs: Message, at: int) -> bool:
        """Whether `theirs` is the answer at this place, with the preambles put before it."""
        if theirs.channel != "final" or self.said[at].message.channel != "final":
            return False
        told = [one for one in self.said[:at] if one.message.channel == "commentary"]
        return bool(told) and squeezed(joined_text(self)) == squeezed("".join(theirs.parts))


class Slot(NamedTuple):
    """One message in its generation."""

    generation: Generation
    at: int

    @property
    def said(self) -> Said:
        """The message itself."""
        return self.generation.said[self.at]


def joined_text(generation: Generation) -> str:
    """All that a user sees of it, as Chat Completions joins it."""
    seen = [one for one in generation.said if one.message.channel != "analysis" and not one.is_call]
    return "\n\n".join(_text(one) for one in seen)


def restored(stretch: Sequence[Said], slots: Sequence[Slot | None]) -> list[Message]:
    """A client's copy of one generation with all that is ours put back.

    Args:
        stretch: assistant messages up to a call, an answer, or somebody else's turn.
        slots: what each was recognised as, before its text was compared.
    """
    for slot in slots:
        if slot and (at := slot.generation.end_like(stretch[-1].message)) is not None:
            return _merged(stretch, slot.generation, at)
    return [*_each(stretch, [slot.said for slot in slots if slot])]


def _merged(stretch: Sequence[Said], generation: Generation, at: int) -> list[Message]:
    """Their messages before the end and ours, where the end is the same."""
    before, ours = stretch[:-1], generation.said[:at]
    end = generation.said[at].message
    if not generation.said[at].is_call:  # what led to an answer is not missed
        told = generation.is_joined(stretch[-1].message, at)
        preambles = [one.message for one in ours if told and one.message.channel == "commentary"]
        return [*_each(before, ours), *preambles, end]
    thoughts = _intact(before, ours, "analysis")
    if thoughts and _intact(before, ours, "commentary"):
        return [*(one.message for one in ours), end]
    are_lost = thoughts and all(one.message.channel != "analysis" for one in before)
    lost = [one.message for one in ours if are_lost and one.message.channel == "analysis"]
    return [*lost, *_each(before, ours), end]


def _intact(theirs: Iterable[Said], ours: Iterable[Said], channel: str) -> bool:
    """Whether what they sent on this channel is ours: all of it, some of it, or joined to one."""
    sent = [one.message for one in theirs if one.message.channel == channel]
    mine = [one.message for one in ours if one.message.channel == channel]
    if all(any(same(one, other) for other in mine) for one in sent):
        return True
    return squeezed(*(_plain(one) for one in sent)) == squeezed(*(_plain(one) for one in mine))


def _each(theirs: Iterable[Said], ours: Sequence[Said]) -> Iterable[Message]:
    """Each of their messages as ours if it is the same, as theirs if not, unless it is empty."""
    for one in theirs:
        found = next((each.message for each in ours if same(one.message, each.message)), None)
        if found is not None:
            yield found
        elif _text(one) or one.message.role != "assistant":
            yield one.message


def same(theirs: Message, ours: Message) -> bool:
    """Whether a client's message says what ours says; white space around it does not matter."""
    if theirs.role != ours.role or theirs.recipient != ours.recipient:
        return False
    if ours.recipient is not None:  # on which channel it was called, a client cannot tell
        return _plain(theirs) == _plain(ours) or _same_json(_plain(theirs), _plain(ours))
    if theirs.channel != ours.channel:
        return False
    if ours.channel == "final":
        return _plain(theirs).strip() == _plain(ours).strip()
    return squeezed(_plain(theirs)) == squeezed(_plain(ours))


def squeezed(*texts: str) -> str:
    """Texts without white space, in which clients are careless."""
    return "".join("".join(text.split()) for text in texts)


def _same_json(one: str, other: str) -> bool:
    """Whether two texts are the same JSON value: keys in any order, numbers in any spelling."""
    try:
        return _canonical(one) == _canonical(other)
    except (ValueError, RecursionError):
        return False


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)


def _number(digits: str) -> float | int:
    value = float(digits)
    return int(value) if value.is_integer() else value


def _plain(message: Message) -> str:
    return "".join(message.parts)


def _text(one: Said) -> str:
    return _plain(one.message)


def _row(one: Said) -> list[Any]:
    """A message as `_said` takes it."""
    message = one.message
    told = (message.channel, message.recipient, message.content_type, _text(one))
    return [*told, message.sampled_ids, one.item_id, one.call_id]


def _said(
    channel: Any,
    recipient: str | None,
    content_type: str | None,
    content: str,
    ids: list[int] | None,
    *names: str | None,
) -> Said:
    message = Message(
        role="assistant",
        channel=channel,
        recipient=recipient,
        content_type=content_type,
        content=content,
        sampled_ids=None if ids is None else tuple(ids),
    )
    item_id, call_id = names
    return Said(message=message, item_id=item_id, call_id=call_id)
