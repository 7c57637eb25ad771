"""Matches a client's copy of a generation against what was sampled. No store, no wire format.

A generation is reasoning, preambles, calls that ran on the server and then, if it was not cut, one
client-side call or one answer: its end. Clients always send the end back; the rest
may be edited, renamed, or missing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ossia.harmony.messages import Message
from ossia.server.api.history import HistoryMessage

_ROW_FIELDS = ("channel", "recipient", "content_type", "content", "sampled_ids")


@dataclass(frozen=True, slots=True)
class Generation:
    """The messages of one generation, in order."""

    model: str
    """Fingerprint of the model of their ids."""
    entries: tuple[HistoryMessage, ...]

    def to_json(self) -> str:
        """Serialize, to be stored."""
        messages = [_row(one) for one in self.entries]
        return json.dumps([self.model, messages], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Generation":
        """Deserialize the output of `to_json`."""
        model, messages = json.loads(text)
        return cls(model, tuple(map(_read_row, messages)))

    def end_like(self, theirs: Message) -> int | None:
        """Return the position of this generation's end if it equals `theirs`, else None."""
        for at, ours in enumerate(self.entries):
            if same(theirs, ours) or (at and self.is_joined(theirs, at)):
                return at
        return None

    def is_joined(self, theirs: Message, at: int) -> bool:
        """Whether `theirs` is the answer at this position, joined with the preambles."""
        if theirs.channel != "final" or self.entries[at].message.channel != "final":
            return False
        preambles = [one for one in self.entries[:at] if one.message.channel == "commentary"]
        return bool(preambles) and strip_white_space(joined_text(self)) == strip_white_space(
            theirs.text
        )


class Slot(NamedTuple):
    """The position of a message in its generation."""

    generation: Generation
    at: int

    @property
    def entry(self) -> HistoryMessage:
        """The message."""
        return self.generation.entries[self.at]


def joined_text(generation: Generation) -> str:
    """Return all text shown to the user, joined as in Chat Completions."""
    seen = [
        one for one in generation.entries if one.message.channel != "analysis" and not one.is_call
    ]
    return "\n\n".join(one.message.text for one in seen)


def restored(messages: Sequence[HistoryMessage], slots: Sequence[Slot | None]) -> list[Message]:
    """Restore a client's copy of one generation.

    Args:
        messages: assistant messages up to a call, an answer, or another role's message.
        slots: the stored message each was matched to by id.
    """
    end = slots[-1]
    if (
        end and end.entry.is_call and same(messages[-1].message, end.entry)
    ):  # of several alike, this
        return _merged(messages, end.generation, end.at)
    for slot in slots:
        if slot and (at := slot.generation.end_like(messages[-1].message)) is not None:
            return _merged(messages, slot.generation, at)
    return _each(messages, [slot.entry for slot in slots if slot])


def _merged(messages: Sequence[HistoryMessage], generation: Generation, at: int) -> list[Message]:
    """Merge the client's messages before an equal end with the stored ones."""
    before, ours, end = messages[:-1], generation.entries[:at], generation.entries[at]
    if _are_joined(before, ours):
        return _messages_of([*ours, end])
    has_calls = any(one.is_call for one in before)
    if not end.is_call:  # messages before an answer may be missing
        joined = generation.is_joined(messages[-1].message, at)
        included = [one for one in ours if _is_included(one, joined=joined, called=not has_calls)]
        return [*_each(before, ours), *_messages_of(included), *end.messages]
    thoughts = _intact(before, ours, "analysis")
    if thoughts and _intact(before, ours, "commentary") and _are_calls_intact(before, ours):
        return _messages_of([*ours, end])
    are_lost = thoughts and not any(_is_thought(one) for one in before)
    lost = [
        one for one in ours if (are_lost and _is_thought(one)) or (one.is_call and not has_calls)
    ]
    return [*_messages_of(lost), *_each(before, ours), *end.messages]


def _are_joined(theirs: Sequence[HistoryMessage], ours: Sequence[HistoryMessage]) -> bool:
    """Whether reasoning and preambles came back as one text, as Chat shows them with JSON."""
    spoken = [one for one in ours if not one.is_call]
    if len(theirs) != 1 or not _is_thought(theirs[0]) or all(map(_is_thought, spoken)):
        return False
    return _stripped_texts(theirs[:1]) == _stripped_texts(spoken)


def _is_included(one: HistoryMessage, *, joined: bool, called: bool) -> bool:
    """Whether a message before an answer is restored although the client omitted it."""
    if one.message.channel != "commentary":
        return False
    return called if one.is_call else joined


def _messages_of(entries: Iterable[HistoryMessage]) -> list[Message]:
    return [message for one in entries for message in one.messages]


def _is_thought(one: HistoryMessage) -> bool:
    return one.message.channel == "analysis" and not one.is_call


def _are_calls_intact(theirs: Iterable[HistoryMessage], ours: Iterable[HistoryMessage]) -> bool:
    """Whether every call that the client sent matches a stored one."""
    return all(any(same(one.message, each) for each in ours) for one in theirs if one.is_call)


def _intact(theirs: Iterable[HistoryMessage], ours: Iterable[HistoryMessage], channel: str) -> bool:
    """Whether the client's messages on this channel match: all, some, or joined to one."""
    sent = [one for one in theirs if one.message.channel == channel and not one.is_call]
    mine = [one for one in ours if one.message.channel == channel and not one.is_call]
    if all(any(same(one.message, other) for other in mine) for one in sent):
        return True
    return _stripped_texts(sent) == _stripped_texts(mine)


def _each(theirs: Iterable[HistoryMessage], ours: Iterable[HistoryMessage]) -> list[Message]:
    """Return the stored message for each match, else the client's unless it is empty."""
    messages: list[Message] = []
    left = list(ours)
    for one in theirs:
        if (at := _find_match(one, left)) is not None:
            messages += left.pop(at).messages
        elif one.message.text or one.message.role != "assistant":
            messages += one.messages
    return messages


def _find_match(theirs: HistoryMessage, ours: Sequence[HistoryMessage]) -> int | None:
    """Find the client's message among the stored ones; of equal texts, the one with its id."""
    alike = [at for at, one in enumerate(ours) if same(theirs.message, one)]
    named = [at for at in alike if theirs.item_id and ours[at].item_id == theirs.item_id]
    return next(iter(named or alike), None)


def same(theirs: Message, ours: HistoryMessage) -> bool:
    """Whether a client's message equals a stored one, white space aside."""
    mine = ours.message
    if theirs.role != mine.role or theirs.recipient != mine.recipient:
        return False
    if mine.recipient is not None:  # clients do not know the channel of a call
        return _same_call(theirs, mine)
    if theirs.channel != mine.channel:
        return False
    texts = {mine.text, mine.text if ours.shown_text is None else ours.shown_text}
    if mine.channel == "final":
        return theirs.text.strip() in {text.strip() for text in texts}
    return strip_white_space(theirs.text) in {strip_white_space(text) for text in texts}


def _same_call(theirs: Message, ours: Message) -> bool:
    if theirs.text == ours.text or _same_json(theirs.text, ours.text):
        return True
    group, _, name = (ours.recipient or "").partition(".")
    if group != "browser":
        return False
    return name == "open" or _is_shown(theirs.text, ours.text)


def _is_shown(theirs: str, ours: str) -> bool:
    """Whether the arguments in a browser item, a subset, are in the call."""
    try:
        shown, arguments = json.loads(theirs), json.loads(ours)
        return bool(shown.items() <= arguments.items())
    except (ValueError, RecursionError, AttributeError, TypeError):
        return False


def strip_white_space(*texts: str) -> str:
    """Join texts without white space, which clients change."""
    return "".join("".join(text.split()) for text in texts)


def _stripped_texts(messages: Iterable[HistoryMessage]) -> str:
    return strip_white_space(*(one.message.text for one in messages))


def _same_json(one: str, other: str) -> bool:
    """Whether two texts are the same JSON value, in any order of keys and form of numbers."""
    try:
        return _canonical(one) == _canonical(other)
    except (ValueError, RecursionError):
        return False


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)


def _number(digits: str) -> float | int:
    value = float(digits)
    return int(value) if value.is_integer() else value


def _row(one: HistoryMessage) -> list[Any]:
    """Convert a message to the row that `_read_row` reads."""
    message = replace(one.message, content=one.message.text).to_json(_ROW_FIELDS)
    result = None if one.result is None else one.result.text
    return [*message, one.item_id, one.call_id, one.shown_text, result]


def _read_row(row: Sequence[Any]) -> HistoryMessage:
    num_fields = len(_ROW_FIELDS)
    message = Message.from_json(row[:num_fields], _ROW_FIELDS, role="assistant")
    # older rows have two names
    item_id, call_id, shown, output = (*row[num_fields:], None, None)[:4]
    result = None
    if output is not None:
        result = Message(
            role="tool", name=message.recipient, channel=message.channel, content=output
        )
    return HistoryMessage(
        message=message, item_id=item_id, call_id=call_id, shown_text=shown, result=result
    )
