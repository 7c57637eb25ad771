"""Reads any ids as messages: what a model said without a mask, imports, training data.

Total and linear: it never raises, and what it cannot place it keeps as hidden, broken reasoning.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

from ossia.harmony.output_rules import CHANNELS, CONSTRAIN, Terminator, is_shown
from ossia.harmony.tokenizer import Tokenizer

_HIDDEN = "analysis"
_PROMPT_ROLES = frozenset(("system", "developer", "user"))
_ADDRESS = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})?")
_TO_BEGUN = re.compile(r"( |$)(t|$)(o|$)(=|$)[A-Za-z0-9_.-]*")
"""Any beginning of ` to=` and an address."""
_TYPE = re.compile(r"(?!to=)[!-~]{1,80}")
_NOTED_CHARS = 200


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """One message as it was read."""

    role: str
    """assistant, user, developer, system or tool."""
    text: str
    channel: str | None = None
    """analysis, commentary or final; None where the role needs none."""
    recipient: str | None = None
    name: str | None = None
    """Of a tool, or of a named user."""
    content_type: str | None = None
    terminator: Terminator | None = None
    """None where the ids stop, or the next message begins, before the message ends."""
    broken: bool = False
    """Whether anything was out of place; a broken call is not to be executed."""
    note: str = ""
    """What was out of place."""

    @property
    def is_shown(self) -> bool:
        """Whether the message is for the user: an answer, or a preamble to calls."""
        is_ours = self.role == "assistant" and self.channel is not None
        return is_ours and is_shown(self.channel or "", self.recipient)

    @property
    def is_call(self) -> bool:
        """Whether it is a whole, unbroken call."""
        is_sent = self.role == "assistant" and self.recipient is not None
        return is_sent and not self.broken and self.terminator is not None


def parse_messages(
    tokenizer: Tokenizer, ids: Iterable[int], *, whole: bool = False
) -> list[ParsedMessage]:
    """Read every message in `ids`, in time linear in their number; never raises.

    Args:
        tokenizer: what the ids mean.
        ids: an assistant's output, from after START assistant.
        whole: the ids are a whole conversation instead, beginning with START.

    Returns:
        The messages in order. A header that the ids stop in is dropped, unless it is broken.
    """
    raw = list(_split(tokenizer, ids, whole=whole))
    if not whole and raw and raw[0].is_blank and len(raw) > 1:
        del raw[0]  # the output begins with START of its own
        role = _text(tokenizer, [*takewhile(tokenizer.is_text, raw[0].head)])
        if re.split("[: ]", role)[0] in _PROMPT_ROLES:
            text = "".join(_text(tokenizer, part) for each in raw for part in each.parts)
            note = "this is a prompt, where a model's output was expected"
            return [ParsedMessage("assistant", text, _HIDDEN, broken=True, note=note)]
    found = (_interpreted(tokenizer, each, is_last=each is raw[-1]) for each in raw)
    return [message for message in found if message is not None]


@dataclass(slots=True)
class _Raw:
    """The ids of one message, taken apart at START, MESSAGE and terminators only."""

    is_started: bool
    is_implied: bool = False
    """Whether the role was given before the first id."""
    head: list[int] = field(default_factory=list)
    body: list[int] | None = None
    terminator: Terminator | None = None

    @property
    def is_blank(self) -> bool:
        return not self.head and self.body is None and self.terminator is None

    @property
    def parts(self) -> Iterator[list[int]]:
        yield self.head
        yield self.body or []


def _split(tokenizer: Tokenizer, ids: Iterable[int], *, whole: bool) -> Iterator[_Raw]:
    control = tokenizer.ids
    ends: dict[int, Terminator] = {
        control.end: "end", control.return_: "return", control.call: "call",
    }  # fmt: skip
    start, message = control.start, control.message
    raw = _Raw(is_started=not whole, is_implied=not whole)
    here = raw.head
    for token_id in ids:
        if token_id == start:
            if raw.is_started or not raw.is_blank:
                yield raw
            raw = _Raw(is_started=True)
            here = raw.head
        elif token_id == message and raw.body is None:
            raw.body = here = []
        elif token_id in ends:
            if raw.is_started or not raw.is_blank:
                raw.terminator = ends[token_id]
                yield raw
            raw = _Raw(is_started=False)
            here = raw.head
        else:
            here.append(token_id)
    if raw.is_started or not raw.is_blank:
        yield raw


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The ordinary text among ids; everything else is left out."""
    spelt = b"".join([tokenizer.bytes_of(each) for each in ids if tokenizer.is_text(each)])
    return spelt.decode("utf-8", "replace")


class _Header(NamedTuple):
    """What stood between START and MESSAGE; with a fault, it counts as hidden reasoning."""

    role: str = "assistant"
    name: str | None = None
    channel: str | None = _HIDDEN
    recipient: str | None = None
    content_type: str | None = None
    fault: str = ""


def _interpreted(tokenizer: Tokenizer, raw: _Raw, *, is_last: bool) -> ParsedMessage | None:
    segments = _segments(tokenizer, raw.head)
    if raw.body is None:
        return _unopened(tokenizer, raw, segments, is_last=is_last)
    if segments is None:
        header = _Header(fault="a control token stands in the header")
    else:
        header = _read_header(segments, is_implied=raw.is_implied)
    if not raw.is_started:
        header = _Header(fault="START is missing")
    note = header.fault and f"{header.fault}: {tokenizer.decode(raw.head[:_NOTED_CHARS])!r}"
    if not note and not all(map(tokenizer.is_text, raw.body)):
        note = "a control token stands in the body"
    if not note and raw.terminator is None and not is_last:
        note = "the next message begins before this one ends"
    return ParsedMessage(
        role=header.role,
        text=_text(tokenizer, raw.body),
        channel=header.channel,
        recipient=header.recipient,
        name=header.name,
        content_type=header.content_type,
        terminator=raw.terminator,
        broken=bool(note),
        note=note[:_NOTED_CHARS],
    )


class _Segments(NamedTuple):
    """A header's text, taken apart at CHANNEL and CONSTRAIN."""

    before: str
    after: str | None = None
    constrained: str | None = None


def _segments(tokenizer: Tokenizer, head: list[int]) -> _Segments | None:
    """The header's text; None if any other control token, or one too many, stands in it."""
    channel, constrain = tokenizer.ids.channel, tokenizer.ids.constrain
    parts: list[list[int]] = [[]]
    order = [channel, constrain]
    for token_id in head:
        if tokenizer.is_text(token_id):
            parts[-1].append(token_id)
        elif len(parts) <= len(order) and token_id == order[len(parts) - 1]:
            parts.append([])
        else:
            return None
    return _Segments(*(_text(tokenizer, part) for part in parts))


def _unopened(
    tokenizer: Tokenizer, raw: _Raw, segments: _Segments | None, *, is_last: bool
) -> ParsedMessage | None:
    """A message without a body: dropped where the ids stop in a good header, else broken."""
    is_cut = is_last and raw.terminator is None and raw.is_started
    if is_cut and segments is not None and _is_beginning(segments, is_implied=raw.is_implied):
        return None
    return ParsedMessage(
        role="assistant",
        text=_text(tokenizer, raw.head),
        channel=_HIDDEN,
        terminator=raw.terminator,
        broken=True,
        note="text stands outside a message" if not raw.is_started else "MESSAGE is missing",
    )


def _is_beginning(segments: _Segments, *, is_implied: bool) -> bool:
    """Whether a good header could go on from here."""
    before, after, _ = segments
    if is_implied and not _TO_BEGUN.fullmatch(before):
        return False
    name, _, rest = (after or "").partition(" ")
    is_whole = bool(rest) or segments.constrained is not None
    return name in CHANNELS if is_whole else any(each.startswith(name) for each in CHANNELS)


def _read_header(segments: _Segments, *, is_implied: bool) -> _Header:
    author, *before = segments.before.split(" ")
    if is_implied and author:
        return _Header(fault="text stands before the channel")
    role, name = ("assistant", None) if is_implied else _author(author)
    if role is None:
        return _Header(fault="the role is unknown")
    channel, after = None, []
    if segments.after is not None:
        channel, *after = segments.after.split(" ")
    if segments.constrained is not None and after and not after[-1]:
        after.pop()  # the space before CONSTRAIN
    words = before if before and before[0].startswith("to=") else after
    recipient = words.pop(0)[3:] if words and words[0].startswith("to=") else None
    types = [*after] if segments.constrained is None else [*after, CONSTRAIN + segments.constrained]
    if before or len(types) > 1 or not all(map(_TYPE.fullmatch, types)):
        return _Header(role, name, fault="the header has words too many")
    return _checked(_Header(role, name, channel, recipient, types[0] if types else None))


def _author(word: str) -> tuple[str | None, str | None]:
    """Role and name; a tool is known by its name alone."""
    role, colon, name = word.partition(":")
    if word == "assistant" or (role in _PROMPT_ROLES and not colon):
        return role, None
    if role in _PROMPT_ROLES and _ADDRESS.fullmatch(name):
        return role, name
    return ("tool", word) if _ADDRESS.fullmatch(word) else (None, None)


def _checked(header: _Header) -> _Header:
    """The header, or a hidden one that says what is wrong with it."""
    fault = ""
    if header.role == "assistant" and header.channel not in CHANNELS:
        fault = "the channel is missing" if header.channel is None else "the channel is unknown"
    elif header.channel is not None and header.channel not in CHANNELS:
        fault = "the channel is unknown"
    elif header.recipient is not None and not _ADDRESS.fullmatch(header.recipient):
        fault = "the recipient is no name"
    elif header.recipient not in (None, "all") and header.channel == "final":
        fault = "an answer has a recipient"
    if fault:
        return _Header(header.role, header.name, fault=fault)
    return header._replace(recipient=None) if header.recipient == "all" else header
