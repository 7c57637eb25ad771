"""Renders conversations to token ids: control tokens as ids, each text encoded alone.

Writes the harmony format; `output_grammar.py` parses the model's output.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ossia.harmony.history import drop_old_reasoning
from ossia.harmony.messages import Conversation, Message
from ossia.harmony.prompt_text import developer_text, instructions_text, system_text
from ossia.harmony.tokenizer import Tokenizer

_CONSTRAIN = "<|constrain|>"


class Example(NamedTuple):
    """One rendered training conversation."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """For each assistant message, where its own ids begin (after START assistant) and end (after
    the terminator), in tokens."""

    def learned(self) -> list[bool]:
        """The loss mask: marks the ids that the model itself writes; as long as `ids`."""
        marks = [False] * len(self.ids)
        for begin, end in self.spans:
            marks[begin:end] = [True] * (end - begin)
        return marks


def render_prompt(tokenizer: Tokenizer, conversation: Conversation) -> list[int]:
    """Ids of the whole prompt, ending START assistant, so that the model speaks next.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    ids = [token_id for message in _rendered(tokenizer, conversation) for token_id in message.ids]
    return [*ids, tokenizer.ids.start, *tokenizer.encode("assistant")]


def num_instruction_tokens(tokenizer: Tokenizer, conversation: Conversation) -> int:
    """Tokens of the prompt before its first message: other conversations begin with them too."""
    before = replace(conversation, messages=())
    return sum(len(message.ids) for message in _rendered(tokenizer, before))


def render_example(tokenizer: Tokenizer, conversation: Conversation) -> Example:
    """Ids of a finished conversation; if its last message is the answer, it ends with RETURN.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    ids: list[int] = []
    spans = []
    for rendered in _rendered(tokenizer, conversation):
        if rendered.is_assistant:
            spans.append((len(ids) + rendered.num_role_ids, len(ids) + len(rendered.ids)))
        ids += rendered.ids
    last = conversation.messages[-1] if conversation.messages else None
    if last is not None and last.role == "assistant" and last.channel == "final":
        ids[-1] = tokenizer.ids.return_
    return Example(tuple(ids), tuple(spans))


def render_message(tokenizer: Tokenizer, message: Message) -> list[int]:
    """Ids of one message, START and terminator included.

    Raises:
        RequestError: a text holds a lone surrogate.
    """
    return _message_ids(tokenizer, message).ids


class _Rendered(NamedTuple):
    ids: list[int]
    num_role_ids: int
    is_assistant: bool


def _rendered(tokenizer: Tokenizer, conversation: Conversation) -> Iterator[_Rendered]:
    yield _instructions(tokenizer, "system", system_text(conversation))
    if text := developer_text(conversation):
        yield _instructions(tokenizer, "developer", text)
    for message in drop_old_reasoning(conversation.messages):
        yield _message_ids(tokenizer, message)


def _instructions(tokenizer: Tokenizer, role: str, text: str) -> _Rendered:
    head = [tokenizer.ids.start, *tokenizer.encode(role)]
    content = [tokenizer.ids.message, *tokenizer.encode(text), tokenizer.ids.end]
    return _Rendered(head + content, len(head), is_assistant=False)


def _message_ids(tokenizer: Tokenizer, message: Message) -> _Rendered:
    role = message.name if message.role == "tool" and message.name else message.role
    head = [tokenizer.ids.start, *tokenizer.encode(role)]
    rest = (
        _sampled_ids(tokenizer, message.sampled_ids)
        if message.sampled_ids is not None
        else [*_header_ids(tokenizer, message), *_content_ids(tokenizer, message)]
    )
    return _Rendered(head + rest, len(head), is_assistant=message.role == "assistant")


def _sampled_ids(tokenizer: Tokenizer, sampled: tuple[int, ...]) -> list[int]:
    """Render the sampled ids; closes a truncated message, and replaces RETURN."""
    ids = tokenizer.ids
    last = sampled[-1] if sampled else None
    if last in (ids.end, ids.call):
        return list(sampled)
    return [*(sampled[:-1] if last == ids.return_ else sampled), ids.end]


def _header_ids(tokenizer: Tokenizer, message: Message) -> Iterator[int]:
    """Everything between the role and MESSAGE, each part encoded alone."""
    if message.name and message.role != "tool":
        yield from tokenizer.encode(f":{message.name}")
    recipient = "assistant" if message.role == "tool" else message.recipient
    if recipient and recipient != "all":
        yield from tokenizer.encode(f" to={recipient}")
    if message.channel:
        yield tokenizer.ids.channel
        yield from tokenizer.encode(message.channel)
    if kind := message.content_type:
        if kind.startswith(_CONSTRAIN):
            yield from tokenizer.encode(" ")
            yield tokenizer.ids.constrain
            yield from tokenizer.encode(kind.removeprefix(_CONSTRAIN))
        else:
            yield from tokenizer.encode(f" {kind}")


def _content_ids(tokenizer: Tokenizer, message: Message) -> Iterator[int]:
    ids = tokenizer.ids
    yield ids.message
    for nth, part in enumerate(message.parts):
        is_heading = message.role == "developer" and nth == 0
        yield from tokenizer.encode(instructions_text(part) if is_heading else part)
    is_call = message.role == "assistant" and message.recipient not in (None, "all")
    yield ids.call if is_call else ids.end
