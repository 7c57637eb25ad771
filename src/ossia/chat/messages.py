"""Translates OpenAI's messages, tools and response formats to harmony's, for library and server.

Knows OpenAI's form of messages; knows no token, no store and no other field of a request.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

from ossia.chat.request import AnswerSchema
from ossia.errors import RequestError
from ossia.harmony.messages import (
    FUNCTIONS,
    Channel,
    Conversation,
    Effort,
    FunctionTool,
    Message,
    ResponseFormat,
)
from ossia.harmony.schema_rules import check_size

ChatMessage = Mapping[str, Any] | Message
"""{"role": "system" | "developer" | "user" | "assistant" | "tool", "content": text}; an assistant
message may have "reasoning" and "tool_calls", a tool's result has "tool_call_id". Or a harmony
message, such as those of `Reply.messages`."""

SCHEMA_PATH = "response_format.json_schema"
"""Path of the answer's schema and name in Chat Completions and the library."""

_REASONING_FIELDS = ("reasoning", "reasoning_content", "thinking")
_TEXT_PARTS = ("text", "input_text", "output_text")
_ROLE_OF_FIELD: Mapping[str, str] = MappingProxyType(
    {
        "tool_call_id": "tool",
        "function_call": "",
        "tool_calls": "assistant",
        "refusal": "assistant",
        **dict.fromkeys(_REASONING_FIELDS, "assistant"),
    }
)
"""The only role whose messages may have the field; function_call is not supported."""


class TranslatedMessage(NamedTuple):
    """A harmony message."""

    message: Message
    call_id: str | None = None
    """Id of a call, or of the call that a tool's result answers."""


class TranslatedMessages(NamedTuple):
    """The messages of a request."""

    instructions: tuple[str, ...]
    """The leading system and developer messages."""
    messages: tuple[TranslatedMessage, ...]
    """The messages after them."""


def translate(
    messages: Sequence[ChatMessage],
    recalled_calls: Mapping[str, Message] = MappingProxyType({}),
) -> TranslatedMessages:
    """Translate messages; an assistant's becomes reasoning, a preamble or the answer, and calls.

    Args:
        messages: in OpenAI's form, or harmony's, which pass unchanged.
        recalled_calls: stored calls by id that a result may answer without a message; each is
            inserted before its result.

    Raises:
        RequestError: a message is invalid; `param` is the path of the invalid field.
    """
    for at, message in enumerate(messages):
        _refuse_misplaced_fields(message, f"messages[{at}]")
    leading = list(takewhile(_is_instruction, messages))
    reader = _MessageReader(recalled_calls)
    return TranslatedMessages(
        instructions=tuple(
            _content(message, f"messages[{at}]") for at, message in enumerate(leading)
        ),
        messages=tuple(
            translated
            for at, message in enumerate(messages[len(leading) :], len(leading))
            for translated in reader.read(message, f"messages[{at}]")
        ),
    )


def to_conversation(
    messages: str | Sequence[ChatMessage],
    *,
    effort: Effort,
    instructions: str | None,
    tools: Sequence[FunctionTool | Mapping[str, Any]],
    date: str | None,
    response_format: Mapping[str, Any] | None = None,
) -> Conversation:
    """Translate the library's arguments.

    Leading system and developer messages join the instructions, which stand next to the tools;
    later ones stay in place.

    Raises:
        RequestError: a message or tool is invalid.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        raise RequestError("there are no messages; give at least one")
    translated = translate(messages)
    return Conversation(
        messages=tuple(one.message for one in translated.messages),
        effort=effort,
        date=date,
        instructions=joined_instructions(instructions, *translated.instructions),
        functions=tuple(_to_function(tool) for tool in tools),
        response_formats=to_response_formats(response_format),
    )


def joined_instructions(*texts: str | None) -> str | None:
    """Join instructions to one text; None if all are empty."""
    return "\n\n".join(text for text in texts if text) or None


def to_answer_schema(
    response_format: Mapping[str, Any] | None, path: str = SCHEMA_PATH
) -> AnswerSchema | None:
    """Return the schema that constrains the answer; None for any text.

    Args:
        response_format: {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema",
            "json_schema": {"name", "schema", "strict"}}.
        path: of the schema and its name in the request.

    Raises:
        RequestError: the format is none of these.
    """
    kind = "text" if response_format is None else response_format.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise RequestError(
            f"the response format is of type {kind!r:.40}; expected text, json_object or "
            "json_schema",
            param="response_format.type",
        )
    if kind == "text":
        return None
    if kind == "json_object":
        return AnswerSchema()
    named = _named_schema(response_format, path)
    strict = named.get("strict")
    return AnswerSchema(schema=named["schema"], strict=strict is None or bool(strict))


def to_response_formats(
    response_format: Mapping[str, Any] | None, path: str = SCHEMA_PATH
) -> tuple[ResponseFormat, ...]:
    """Return the prompt's description of the answer's schema. See `to_answer_schema`."""
    if response_format is None or response_format.get("type") != "json_schema":
        return ()
    named = _named_schema(response_format, path)
    try:
        check_size(named["schema"])
    except RequestError as error:
        raise RequestError(str(error), param=f"{path}.schema", code="invalid_json_schema") from None
    name, description = named.get("name") or "answer", named.get("description") or ""
    return (ResponseFormat(name=name, schema=named["schema"], description=description),)


def _named_schema(response_format: Mapping[str, Any] | None, path: str) -> Mapping[str, Any]:
    named = (response_format or {}).get("json_schema")
    if not isinstance(named, Mapping):
        raise _missing(path, 'a json_schema format needs {"name": ..., "schema": {...}}')
    if not isinstance(named.get("schema"), Mapping):
        raise _missing(f"{path}.schema", "a json_schema format needs it")
    return named


def _is_instruction(message: ChatMessage) -> bool:
    return isinstance(message, Mapping) and message.get("role") in ("system", "developer")


def _refuse_misplaced_fields(message: ChatMessage, path: str) -> None:
    if isinstance(message, Message):
        return
    if not isinstance(message, Mapping):
        raise RequestError(
            f"{path} is a {type(message).__name__}; expected a dict of role and content",
            param=path,
        )
    for field, role in _ROLE_OF_FIELD.items():
        if message.get(field) and message.get("role") != role:
            raise RequestError(
                f"{path}.{field} has no meaning in a message of role {message.get('role')!r:.40}; "
                f"{'leave it out' if role else 'use tool_calls'}",
                param=f"{path}.{field}",
            )


class _MessageReader:
    """Reads messages in order and records the calls."""

    def __init__(self, recalled_calls: Mapping[str, Message]) -> None:
        self._recalled = dict(recalled_calls)
        self._recipients: dict[str, str] = {}
        """Recipients of the calls so far, by id."""

    def read(self, message: ChatMessage, path: str) -> Iterator[TranslatedMessage]:
        """Convert one message to harmony messages."""
        if isinstance(message, Message):
            yield TranslatedMessage(message)
            return
        match message.get("role"):
            case "system" | "developer":
                content = _content(message, path)
                yield TranslatedMessage(Message(role="developer", content=content))
            case "user":
                yield TranslatedMessage(_by_user(message, path))
            case "assistant":
                yield from self._assistant(message, path)
            case "tool":
                yield from self._result(message, path)
            case role:
                raise RequestError(
                    f"{path}.role is {role!r:.40}; expected system, developer, user, assistant "
                    "or tool",
                    param=f"{path}.role",
                )

    def _assistant(self, message: Mapping[str, Any], path: str) -> Iterator[TranslatedMessage]:
        calls = message.get("tool_calls") or ()
        reasoning = next((text for name in _REASONING_FIELDS if (text := message.get(name))), None)
        if reasoning:
            yield TranslatedMessage(
                Message(role="assistant", channel="analysis", content=reasoning)
            )
        content = message.get("refusal")
        if message.get("content") is not None:
            content = _content(message, path)
        if content or (content is not None and not calls):
            channel: Channel = "commentary" if calls else "final"
            yield TranslatedMessage(Message(role="assistant", channel=channel, content=content))
        elif not calls and not reasoning:
            raise _missing(
                f"{path}.content", "this assistant message has neither content nor tool_calls"
            )
        for at, call in enumerate(calls):
            yield self._call(call, f"{path}.tool_calls[{at}]")

    def _call(self, call: Mapping[str, Any], path: str) -> TranslatedMessage:
        if not isinstance(call, Mapping):
            raise RequestError(f"{path} is not an object; a tool call needs to be one", param=path)
        is_custom = call.get("type") == "custom" or (not call.get("type") and "custom" in call)
        kind, body = ("custom", "input") if is_custom else ("function", "arguments")
        called = call.get(kind)
        if not isinstance(called, Mapping) or not {"name", body} <= called.keys():
            raise _missing(f"{path}.{kind}", f"a tool call needs its name and {body}")
        if not isinstance(call_id := call.get("id"), str):
            raise _missing(f"{path}.id", "a tool call needs it")
        recipient = self._recipients[call_id] = f"{FUNCTIONS}.{called['name']}"
        message = Message(
            role="assistant",
            channel="commentary",
            recipient=recipient,
            content_type="code" if is_custom else "json",
            content=called[body],
        )
        return TranslatedMessage(message, call_id)

    def _result(self, message: Mapping[str, Any], path: str) -> Iterator[TranslatedMessage]:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str):
            raise _missing(f"{path}.tool_call_id", "a tool message needs the id of its call")
        if call := self._recalled.pop(call_id, None):
            self._recipients[call_id] = call.recipient or ""
            yield TranslatedMessage(call, call_id)
        if call_id not in self._recipients:
            raise RequestError(
                f"{path}.tool_call_id is {call_id!r:.80}, which no earlier assistant message "
                "called; send that message too",
                param=f"{path}.tool_call_id",
            )
        result = Message(
            role="tool",
            name=self._recipients[call_id],
            channel="commentary",
            content=_content(message, path),
        )
        yield TranslatedMessage(result, call_id)


def _by_user(message: Mapping[str, Any], path: str) -> Message:
    content = _content(message, path)
    try:
        return Message(role="user", content=content, name=message.get("name") or None)
    except RequestError as error:  # content is never refused: the name is invalid
        raise RequestError(str(error), param=f"{path}.name") from None


def _content(message: ChatMessage, path: str) -> str:
    """Return the content as one text."""
    assert isinstance(message, Mapping), "harmony's own messages pass unchanged"
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        raise _missing(f"{path}.content", f"a {message.get('role')} message needs it")
    if not isinstance(content, list | tuple):
        raise RequestError(
            f"{path}.content is a {type(content).__name__}; a {message.get('role')} message needs "
            "text",
            param=f"{path}.content",
        )
    return "".join(_part(part, f"{path}.content[{at}]") for at, part in enumerate(content))


def _part(part: object, path: str) -> str:
    kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
    if kind not in (*_TEXT_PARTS, "refusal"):
        raise RequestError(
            f"{path}.type is {kind!r:.40}; this model is text only: send text parts",
            param=f"{path}.type",
        )
    field = "refusal" if kind == "refusal" else "text"
    text = part.get(field) if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise _missing(f"{path}.{field}", f"a {kind} part needs it")
    return text


def _missing(path: str, reason: str) -> RequestError:
    return RequestError(f"{path} is missing; {reason}", param=path, code="missing_field")


def _to_function(tool: FunctionTool | Mapping[str, Any]) -> FunctionTool:
    if isinstance(tool, FunctionTool):
        return tool
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or "name" not in function:
        raise RequestError('a tool needs {"type": "function", "function": {"name": ...}}')
    return FunctionTool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters"),
        strict=bool(function.get("strict")),
    )
