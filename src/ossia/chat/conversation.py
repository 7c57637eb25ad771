"""What a caller sends, as OpenAI spells it -> a harmony conversation. Knows no token, no wire."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ossia.chat.request import AnswerShape
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

ChatMessage = Mapping[str, Any] | Message
"""{"role": "system" | "developer" | "user" | "assistant" | "tool", "content": text}; an assistant
message may have "reasoning" and "tool_calls", a tool's result has "tool_call_id". Or a harmony
message, such as those of `Reply.messages`."""

REASONING_FIELDS = ("reasoning", "reasoning_content", "thinking")


def to_conversation(
    messages: str | Sequence[ChatMessage],
    *,
    effort: Effort,
    instructions: str | None,
    tools: Sequence[FunctionTool | Mapping[str, Any]],
    date: str | None,
    response_format: Mapping[str, Any] | None = None,
) -> Conversation:
    """Translate a request.

    Leading system and developer messages join the instructions, which the model reads beside the
    tools; later ones stay where they stand.

    Raises:
        RequestError: a message or tool that has no meaning here.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        raise RequestError("there are no messages; give at least one")
    for message in messages:
        if not isinstance(message, Mapping | Message):
            raise RequestError(f"a message is a {type(message).__name__}; expected a dict")
    leading = [*takewhile(_is_told, messages)]
    told = [instructions or "", *(_content(message) for message in leading)]
    return Conversation(
        messages=tuple(_translate(messages[len(leading) :])),
        effort=effort,
        date=date,
        instructions="\n\n".join(text for text in told if text) or None,
        functions=tuple(_to_function(tool) for tool in tools),
        response_formats=_to_formats(response_format),
    )


def to_shape(response_format: Mapping[str, Any] | None) -> AnswerShape | None:
    """What the answer is held to; None where any text will do.

    Args:
        response_format: {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema",
            "json_schema": {"name", "schema", "strict"}}.

    Raises:
        RequestError: it is none of these.
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
        return AnswerShape()
    named = _named_schema(response_format)
    return AnswerShape(schema=named["schema"], strict=bool(named.get("strict", True)))


def _to_formats(response_format: Mapping[str, Any] | None) -> tuple[ResponseFormat, ...]:
    if response_format is None or response_format.get("type") != "json_schema":
        return ()
    named = _named_schema(response_format)
    return (
        ResponseFormat(
            name=named.get("name") or "answer",
            schema=named["schema"],
            description=named.get("description") or "",
        ),
    )


def _named_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any]:
    named = (response_format or {}).get("json_schema")
    if not isinstance(named, Mapping) or not isinstance(named.get("schema"), Mapping):
        raise RequestError(
            'a json_schema format needs {"json_schema": {"name": ..., "schema": {...}}}',
            param="response_format.json_schema",
        )
    return named


def _is_told(message: ChatMessage) -> bool:
    return isinstance(message, Mapping) and message.get("role") in ("system", "developer")


def _translate(messages: Sequence[ChatMessage]) -> Iterable[Message]:
    called: dict[str, str] = {}
    for message in messages:
        if isinstance(message, Message):
            yield message
            continue
        role = message.get("role")
        if role in ("system", "developer"):
            yield Message(role="developer", content=_content(message))
        elif role == "user":
            yield Message(role="user", content=_content(message), name=message.get("name"))
        elif role == "assistant":
            yield from _assistant(message, called)
        elif role == "tool":
            yield _result(message, called)
        else:
            raise RequestError(
                f"a message has the role {role!r:.40}; expected system, developer, user, "
                "assistant or tool"
            )


def _assistant(message: Mapping[str, Any], called: dict[str, str]) -> Iterable[Message]:
    """Reasoning, then a preamble or the answer, then calls."""
    reasoning = next((message[name] for name in REASONING_FIELDS if message.get(name)), None)
    calls = message.get("tool_calls") or ()
    if reasoning:
        yield Message(role="assistant", channel="analysis", content=reasoning)
    if message.get("content"):
        channel: Channel = "commentary" if calls else "final"
        yield Message(role="assistant", channel=channel, content=_content(message))
    elif not calls and not reasoning:
        raise RequestError("an assistant message has neither content, reasoning nor tool_calls")
    for call in calls:
        try:
            call_id = call["id"]
            name, arguments = call["function"]["name"], call["function"]["arguments"]
        except (KeyError, TypeError):
            raise RequestError(
                'a tool call needs "id" and "function" with "name" and "arguments"'
            ) from None
        called[call_id] = f"{FUNCTIONS}.{name}"
        yield Message(
            role="assistant",
            channel="commentary",
            recipient=called[call_id],
            content_type="json",
            content=arguments,
        )


def _result(message: Mapping[str, Any], called: Mapping[str, str]) -> Message:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or call_id not in called:
        raise RequestError(
            f"a tool message answers call {call_id!r:.80}, which no earlier assistant message made"
        )
    return Message(
        role="tool", name=called[call_id], channel="commentary", content=_content(message)
    )


def _content(message: ChatMessage) -> str:
    """Text, or the joined texts of OpenAI's content parts."""
    assert isinstance(message, Mapping), "harmony's own messages pass as they are"
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise RequestError(
            f"the content of a {message.get('role')} message is a {type(content).__name__}; "
            "expected text"
        )
    parts = []
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise RequestError("a content part is no text; gpt-oss reads and writes text only")
        parts.append(part["text"])
    return "".join(parts)


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
