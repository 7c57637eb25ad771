"""Conversations as token ids: control tokens inserted as ids, every text encoded on its own.

Knows the harmony format from the writing side; what the model may say back stands in `frame.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ossia.harmony.history import drop_old_reasoning
from ossia.harmony.messages import Conversation, Message
from ossia.harmony.prompt_text import developer_text, instructions_text, system_text
from ossia.harmony.vocabulary import Vocabulary

_CONSTRAIN = "<|constrain|>"


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """For each assistant message, where its own ids begin (after START assistant) and end (after
    the terminator), in tokens."""

    def learned(self) -> list[bool]:
        """Mark the ids that the model itself should have said; as long as `ids`."""
        marks = [False] * len(self.ids)
        for begin, end in self.spans:
            marks[begin:end] = [True] * (end - begin)
        return marks


def render_prompt(vocabulary: Vocabulary, conversation: Conversation) -> list[int]:
    """Ids of the whole prompt, ending START assistant, so that the model speaks next.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    ids = [token_id for message in _rendered(vocabulary, conversation) for token_id in message.ids]
    return [*ids, vocabulary.ids.start, *vocabulary.encode("assistant")]


def num_told(vocabulary: Vocabulary, conversation: Conversation) -> int:
    """Tokens of the prompt before its first message: other conversations begin with them too."""
    before = replace(conversation, messages=())
    return sum(len(message.ids) for message in _rendered(vocabulary, before))


def render_example(vocabulary: Vocabulary, conversation: Conversation) -> Example:
    """Ids of a finished conversation; if its last message is the answer, it ends with RETURN.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    ids: list[int] = []
    spans = []
    for rendered in _rendered(vocabulary, conversation):
        if rendered.is_assistant:
            spans.append((len(ids) + rendered.num_role_ids, len(ids) + len(rendered.ids)))
        ids += rendered.ids
    last = conversation.messages[-1] if conversation.messages else None
    if last is not None and last.role == "assistant" and last.channel == "final":
        ids[-1] = vocabulary.ids.return_
    return Example(tuple(ids), tuple(spans))


def render_message(vocabulary: Vocabulary, message: Message) -> list[int]:
    """Ids of one message, START and terminator included.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    return _message_ids(vocabulary, message).ids


@dataclass(frozen=True, slots=True)
class _Rendered:
    ids: list[int]
    num_role_ids: int
    is_assistant: bool


def _rendered(vocabulary: Vocabulary, conversation: Conversation) -> Iterator[_Rendered]:
    yield _told(vocabulary, "system", system_text(conversation))
    if text := developer_text(conversation):
        yield _told(vocabulary, "developer", text)
    for message in drop_old_reasoning(conversation.messages):
        yield _message_ids(vocabulary, message)


def _told(vocabulary: Vocabulary, role: str, text: str) -> _Rendered:
    head = [vocabulary.ids.start, *vocabulary.encode(role)]
    body = [vocabulary.ids.message, *vocabulary.encode(text), vocabulary.ids.end]
    return _Rendered(head + body, len(head), is_assistant=False)


def _message_ids(vocabulary: Vocabulary, message: Message) -> _Rendered:
    role = message.name if message.role == "tool" and message.name else message.role
    head = [vocabulary.ids.start, *vocabulary.encode(role)]
    rest = (
        _sampled_ids(vocabulary, message.sampled_ids)
        if message.sampled_ids is not None
        else [*_header_ids(vocabulary, message), *_body_ids(vocabulary, message)]
    )
    return _Rendered(head + rest, len(head), is_assistant=message.role == "assistant")


def _sampled_ids(vocabulary: Vocabulary, sampled: tuple[int, ...]) -> list[int]:
    """As sampled; RETURN never stands in a prompt, and a message cut short is closed."""
    ids = vocabulary.ids
    last = sampled[-1] if sampled else None
    if last in (ids.end, ids.call):
        return list(sampled)
    return [*(sampled[:-1] if last == ids.return_ else sampled), ids.end]


def _header_ids(vocabulary: Vocabulary, message: Message) -> Iterator[int]:
    """Everything between the role and MESSAGE, each part encoded alone."""
    if message.name and message.role != "tool":
        yield from vocabulary.encode(f":{message.name}")
    recipient = "assistant" if message.role == "tool" else message.recipient
    if recipient and recipient != "all":
        yield from vocabulary.encode(f" to={recipient}")
    if message.channel:
        yield vocabulary.ids.channel
        yield from vocabulary.encode(message.channel)
    if kind := message.content_type:
        if kind.startswith(_CONSTRAIN):
            yield from vocabulary.encode(" ")
            yield vocabulary.ids.constrain
            yield from vocabulary.encode(kind.removeprefix(_CONSTRAIN))
        else:
            yield from vocabulary.encode(f" {kind}")


def _body_ids(vocabulary: Vocabulary, message: Message) -> Iterator[int]:
    ids = vocabulary.ids
    yield ids.message
    for nth, part in enumerate(message.parts):
        is_heading = message.role == "developer" and nth == 0
        yield from vocabulary.encode(instructions_text(part) if is_heading else part)
    is_call = message.role == "assistant" and message.recipient not in (None, "all")
    yield ids.call if is_call else ids.end
