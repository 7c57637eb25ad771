"""The messages of Chat Completions -> harmony's, each with the call it is or answers.

It knows OpenAI's form of a message; it knows no other field of a request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import Field

from ossia.chat.conversation import REASONING_FIELDS
from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, Channel, Message
from ossia.server.api.fields import (
    MAX_PARTS,
    MAX_TOOLS,
    Form,
    FunctionName,
    Identifier,
    Label,
    Text,
)
from ossia.server.api.history import HistoryMessage


class ContentPart(Form):
    """A part of a message's content: text, or an old refusal, which is text too."""

    type: Label
    text: Text | None = None
    refusal: Text | None = None


class CalledFunction(Form):
    """A function and what it was called with."""

    name: FunctionName
    arguments: Text


class CalledCustom(Form):
    """A custom tool and what it was called with."""

    name: FunctionName
    input: Text


class ToolCall(Form):
    """A call that the model made earlier."""

    id: Identifier
    type: Literal["function", "custom"] | None = None
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class ChatMessage(Form):
    """One message, of whatever role."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: (
        Text | Annotated[list[ContentPart], Field(max_length=MAX_PARTS, fail_fast=True)] | None
    ) = None
    name: Label | None = None
    refusal: Text | None = None
    reasoning: Text | None = None
    reasoning_content: Text | None = None
    thinking: Text | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_call_id: Identifier | None = None
    function_call: Any = None


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """The messages of a request, translated."""

    told: list[dict[str, str]]
    """What leads the conversation and is told beside the tools, as plain developer messages."""
    said: list[HistoryMessage]
    """All that follows."""
    ignored: list[str]
    """Paths of what has no meaning where it stands."""


def lost_calls(messages: Sequence[ChatMessage]) -> list[str]:
    """Ids of the calls that results answer, but that no message makes."""
    made = {call.id for message in messages for call in message.tool_calls or ()}
    answered = dict.fromkeys(message.tool_call_id for message in messages)
    return [call_id for call_id in answered if call_id is not None and call_id not in made]


def read_messages(
    messages: Sequence[ChatMessage], known: Mapping[str, HistoryMessage]
) -> ChatHistory:
    """Translate messages.

    Args:
        messages: as sent.
        known: calls that were made here before, by their ids; see `lost_calls`.

    Raises:
        RequestError: a message has no meaning; `param` is the path of the field at fault.
    """
    for at, message in enumerate(messages):
        _refuse_misplaced(message, f"messages[{at}]")
    leading = list(takewhile(_is_told, messages))
    told = [
        {"role": "developer", "content": _text(message, f"messages[{at}]")}
        for at, message in enumerate(leading)
    ]
    reader = _MessageReader(known)
    spoken: list[HistoryMessage] = []
    for at, message in enumerate(messages[len(leading) :], len(leading)):
        spoken.extend(reader.read(message, f"messages[{at}]"))
    ignored = [
        f"messages[{at}].name"
        for at, message in enumerate(messages)
        if message.name and message.role != "user"
    ]
    return ChatHistory(told, spoken, ignored)


def _is_told(message: ChatMessage) -> bool:
    return message.role in ("system", "developer")


class _MessageReader:
    """Reads messages in order; remembers the calls."""

    def __init__(self, known: Mapping[str, HistoryMessage]) -> None:
        self._known = dict(known)
        self._called: dict[str, str] = {}

    def read(self, message: ChatMessage, path: str) -> Iterator[HistoryMessage]:
        """The harmony messages that one message stands for."""
        if message.role == "assistant":
            yield from self._assistant(message, path)
        elif message.role == "tool":
            yield from self._result(message, path)
        elif message.role == "user":
            yield HistoryMessage(message=_by_user(message, path))
        else:
            yield HistoryMessage(message=Message(role="developer", content=_text(message, path)))

    def _assistant(self, message: ChatMessage, path: str) -> Iterator[HistoryMessage]:
        """Reasoning, then a preamble or the answer, then calls."""
        calls = message.tool_calls or []
        reasoning = next(
            (text for name in REASONING_FIELDS if (text := getattr(message, name))), None
        )
        if reasoning:
            yield HistoryMessage(
                message=Message(role="assistant", channel="analysis", content=reasoning)
            )
        content = message.refusal if message.content is None else _text(message, path)
        if content or (content is not None and not calls):
            channel: Channel = "commentary" if calls else "final"
            yield HistoryMessage(
                message=Message(role="assistant", channel=channel, content=content)
            )
        elif not calls and not reasoning:
            raise _missing(f"{path}.content", "an assistant message needs content or tool_calls")
        for at, call in enumerate(calls):
            yield self._call(call, f"{path}.tool_calls[{at}]")

    def _call(self, call: ToolCall, path: str) -> HistoryMessage:
        kind = call.type or ("function" if call.custom is None else "custom")
        if kind == "function":
            if call.function is None:
                raise _missing(f"{path}.function", "a call needs its name and arguments")
            name, content, content_type = call.function.name, call.function.arguments, "json"
        else:
            if call.custom is None:
                raise _missing(f"{path}.custom", "a call needs its name and input")
            name, content, content_type = call.custom.name, call.custom.input, "code"
        recipient = f"{FUNCTIONS}.{name}"
        self._called[call.id] = recipient
        message = Message(
            role="assistant",
            channel="commentary",
            recipient=recipient,
            content_type=content_type,
            content=content,
        )
        return HistoryMessage(message=message, call_id=call.id)

    def _result(self, message: ChatMessage, path: str) -> Iterator[HistoryMessage]:
        call_id = message.tool_call_id
        if call_id is None:
            raise _missing(f"{path}.tool_call_id", "a tool message names the call it answers")
        if call := self._known.pop(call_id, None):
            self._called[call_id] = call.message.recipient or ""
            yield call
        if call_id not in self._called:
            raise RequestError(
                f"{path}.tool_call_id is {call_id!r:.80}, which no earlier assistant message "
                "called; send that message too",
                param=f"{path}.tool_call_id",
            )
        result = Message(
            role="tool",
            name=self._called[call_id],
            channel="commentary",
            content=_text(message, path),
        )
        yield HistoryMessage(message=result, call_id=call_id)


_OF_ROLES = {
    "tool_call_id": "tool",
    "function_call": "",
    "tool_calls": "assistant",
} | dict.fromkeys((*REASONING_FIELDS, "refusal"), "assistant")
"""The one role whose messages may have such a field; function_call has gone for good."""


def _refuse_misplaced(message: ChatMessage, path: str) -> None:
    for field, role in _OF_ROLES.items():
        if getattr(message, field) and message.role != role:
            raise RequestError(
                f"{path}.{field} has no meaning in a message of role {message.role}; "
                f"{'leave it out' if role else 'use tool_calls'}",
                param=f"{path}.{field}",
            )


def _by_user(message: ChatMessage, path: str) -> Message:
    content = _text(message, path)
    try:
        return Message(role="user", content=content, name=message.name or None)
    except RequestError as error:  # a text is never refused: it is the name
        raise RequestError(str(error), param=f"{path}.name") from None


def _text(message: ChatMessage, path: str) -> str:
    """The content as one text."""
    content = message.content
    if content is None:
        raise _missing(f"{path}.content", f"a {message.role} message needs it")
    if isinstance(content, str):
        return content
    return "".join(_of_part(part, f"{path}.content[{at}]") for at, part in enumerate(content))


def _of_part(part: ContentPart, path: str) -> str:
    if part.type not in ("text", "refusal"):
        raise RequestError(
            f"{path}.type is {part.type!r:.40}; this model is text only: send text parts",
            param=f"{path}.type",
        )
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise _missing(f"{path}.{part.type}", f"a {part.type} part needs it")
    return text


def _missing(path: str, why: str) -> RequestError:
    return RequestError(f"{path} is missing; {why}", param=path, code="missing_field")
