"""Translates a Chat Completions request to a turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from ossia.chat.messages import (
    SCHEMA_PATH,
    joined_instructions,
    to_answer_schema,
    to_response_formats,
    translate,
)
from ossia.chat.request import ToolPolicy, TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Builtin, Conversation, Message, Namespace
from ossia.providers.provider import ServedModel
from ossia.server.api.fields import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOOLS,
    Choices,
    Effort,
    Form,
    FunctionName,
    Identifier,
    JsonObject,
    Label,
    MaxTokens,
    ReasoningTokens,
    SchemaFields,
    StreamOptions,
    Text,
    TurnFields,
    Unused,
    effort_of,
    ignored,
)
from ossia.server.api.history import HistoryMessage
from ossia.server.api.tool_choice import parse_tool_choice
from ossia.server.api.tools import (
    NOTHING,
    RequestTools,
    parse_tools,
)


class ContentPart(Form):
    """A part of a message's content: text or a refusal."""

    type: Label
    text: Text | None = None
    refusal: Text | None = None


class CalledFunction(Form):
    """A function's name and arguments."""

    name: FunctionName
    arguments: Text


class CalledCustom(Form):
    """A custom tool's name and input."""

    name: FunctionName
    input: Text


class ToolCall(Form):
    """An earlier tool call of the model."""

    id: Identifier
    type: Literal["function", "custom"] | None = None
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class ChatMessageForm(Form):
    """A message of any role."""

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


class NamedSchema(SchemaFields):
    """The `json_schema` of a response format."""

    name: FunctionName


class ChatResponseFormat(Form):
    """The `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class ReasoningOptions(Form):
    """OpenRouter's `reasoning`: effort, and whether reasoning is shown."""

    effort: Effort | None = None
    exclude: bool | None = None
    max_tokens: ReasoningTokens | None = None


class ChatRequest(TurnFields):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[
        list[ChatMessageForm], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    ]
    n: Choices | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    include_reasoning: bool | None = None
    response_format: ChatResponseFormat | None = None
    functions: Any = None
    function_call: Any = None
    user: Unused[Label] = None
    safety_identifier: Unused[Label] = None
    prompt_cache_key: Unused[Label] = None
    verbosity: Unused[Label] = None
    modalities: Unused[list[Label]] = None
    audio: Unused[JsonObject] = None
    prediction: Unused[JsonObject] = None
    web_search_options: Unused[JsonObject] = None


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """The messages of a request, translated."""

    instructions: tuple[str, ...]
    """The leading system and developer messages."""
    messages: tuple[HistoryMessage, ...]
    """The messages after them."""
    ignored: tuple[str, ...]
    """Paths of ignored fields."""


def lost_calls(messages: Sequence[ChatMessageForm]) -> list[str]:
    """Return the ids of calls that have a result but no message."""
    made = {call.id for message in messages for call in message.tool_calls or ()}
    answered = dict.fromkeys(message.tool_call_id for message in messages)
    return [call_id for call_id in answered if call_id is not None and call_id not in made]


def read_messages(
    messages: Sequence[ChatMessageForm], recalled: Mapping[str, HistoryMessage]
) -> ChatHistory:
    """Translate messages.

    Args:
        messages: as sent.
        recalled: stored calls by id; see `lost_calls`.

    Raises:
        RequestError: a message is invalid; `param` is the path of the invalid field.
    """
    plain = [message.model_dump(exclude_none=True) for message in messages]
    translated = translate(plain, {call_id: one.message for call_id, one in recalled.items()})
    as_recalled = {id(one.message): one for one in recalled.values()}
    return ChatHistory(
        instructions=translated.instructions,
        messages=tuple(
            as_recalled.get(id(message), HistoryMessage(message=message, call_id=call_id))
            for message, call_id in translated.messages
        ),
        ignored=tuple(
            f"messages[{at}].name"
            for at, message in enumerate(messages)
            if message.name and message.role != "user"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedChatRequest:
    """A parsed request."""

    turn: TurnRequest
    tools: RequestTools
    num_choices: int
    ignored: tuple[str, ...]
    """Paths of ignored fields."""
    streams: bool
    includes_usage: bool
    shows_reasoning: bool
    stores: bool
    metadata: dict[str, str] | None


def to_turn(
    form: ChatRequest,
    history: ChatHistory,
    messages: Sequence[Message],
    *,
    model: ServedModel,
    date: str,
    available: Mapping[str, Namespace] = NOTHING,
) -> ParsedChatRequest:
    """Translate a request.

    Args:
        form: the validated request.
        history: its translated messages.
        messages: those after the instructions, with the exact ids of restored ones.
        model: the served model.
        date: of the prompt, YYYY-MM-DD.
        available: the built-in tools.

    Raises:
        RequestError: fields contradict each other or are invalid; `param` is the path.
    """
    _refuse_old_forms(form)
    tools = _parse_tools(form, available)
    turn = _turn(form, tools, history.instructions, messages, model=model, date=date)
    reasoning = form.reasoning or ReasoningOptions()
    return ParsedChatRequest(
        turn=turn,
        tools=tools,
        num_choices=form.n or 1,
        ignored=(*tools.ignored, *history.ignored, *_ignored(form, tools)),
        streams=bool(form.stream),
        includes_usage=bool((form.stream_options or StreamOptions()).include_usage),
        shows_reasoning=not reasoning.exclude and form.include_reasoning is not False,
        stores=bool(form.store),
        metadata=form.metadata,
    )


def _turn(
    form: ChatRequest,
    tools: RequestTools,
    instructions: Sequence[str],
    messages: Sequence[Message],
    *,
    model: ServedModel,
    date: str,
) -> TurnRequest:
    choice, allowed = parse_tool_choice(form.tool_choice, tools)
    effort, may_reason = effort_of(_effort(form))
    response_format = _response_format(form.response_format)
    conversation = Conversation(
        messages=tuple(messages),
        effort=effort,
        date=date,
        instructions=joined_instructions(*instructions),
        functions=tools.functions,
        builtins=tools.builtins,
        namespaces=tools.callable_servers,
        response_formats=to_response_formats(response_format),
    )
    return TurnRequest(
        conversation=conversation,
        **form.to_generation(
            max_tokens=_max_tokens(form), logprobs=_num_logprobs(form), model=model
        ),
        tool_choice=choice,
        allowed_tools=allowed,
        answer=to_answer_schema(response_format),
        allow_analysis=may_reason,
        max_analysis_tokens=form.reasoning.max_tokens if form.reasoning else None,
        schema_paths={**tools.schema_paths, "": f"{SCHEMA_PATH}.schema"},
        tool_policy=ToolPolicy(
            require_approval=tools.asks
        ),  # this API has no approvals: these calls are refused
    )


def _parse_tools(form: ChatRequest, available: Mapping[str, Namespace]) -> RequestTools:
    """Parse the tools; `web_search_options` adds the browser."""
    tools = parse_tools(form.tools, form="chat", available=available)
    if form.web_search_options is None or "browser" not in available:
        return tools
    browser: Builtin = "browser"
    return replace(tools, builtins=tuple(dict.fromkeys((*tools.builtins, browser))))


def _ignored(form: ChatRequest, tools: RequestTools) -> list[str]:
    used = {"web_search_options"} if "browser" in tools.builtins else set()
    return [name for name in ignored(form) if name not in used]


def _refuse_old_forms(form: ChatRequest) -> None:
    for old, new in (("functions", "tools"), ("function_call", "tool_choice")):
        if getattr(form, old) is not None:
            raise RequestError(
                f"{old} is an old form that is not taken; use tools and tool_choice: here {new}",
                param=old,
                code="unsupported_parameter",
            )


def _effort(form: ChatRequest) -> Effort | None:
    inner = form.reasoning.effort if form.reasoning else None
    outer = form.reasoning_effort
    if inner is not None and outer is not None and inner != outer:
        raise RequestError(
            f"reasoning_effort is {outer!r}, but reasoning.effort is {inner!r}; send one of them",
            param="reasoning_effort",
        )
    return outer or inner


def _max_tokens(form: ChatRequest) -> int | None:
    old, new = form.max_tokens, form.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise RequestError(
            f"max_tokens is {old}, but max_completion_tokens is {new}; they are one limit: send "
            "one of them",
            param="max_tokens",
        )
    return old if new is None else new


def _num_logprobs(form: ChatRequest) -> int | None:
    if form.top_logprobs is not None and not form.logprobs:
        raise RequestError(
            "top_logprobs needs logprobs; send logprobs: true beside it", param="top_logprobs"
        )
    return form.top_logprobs or 0 if form.logprobs else None


def _response_format(form: ChatResponseFormat | None) -> dict[str, Any] | None:
    """Return the response format in the form of `chat.messages`."""
    if form is None:
        return None
    named = form.json_schema
    return {"type": form.type, "json_schema": None if named is None else named.to_dict()}
