"""A request of Chat Completions -> a turn. It knows OpenAI's fields, not how a turn is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from ossia.chat.conversation import to_conversation, to_shape
from ossia.chat.request import CallRules, TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Builtin, Conversation, Message, Namespace
from ossia.providers.provider import ServedModel
from ossia.server.api.fields import (
    MAX_MESSAGES,
    Choices,
    Effort,
    Form,
    FunctionName,
    Identifier,
    JsonObject,
    Label,
    MaxTokens,
    Metadata,
    ReasoningTokens,
    Sampled,
    StreamOptions,
    Text,
    TopLogprobs,
    Unused,
    effort_of,
    ignored,
    sampling,
)
from ossia.server.api.tool_choice import parse_tool_choice
from ossia.server.api.tools import (
    NOTHING,
    Offered,
    parse_tools,
)
from ossia.server.chat_completions.messages import ChatHistory, ChatMessage

SCHEMA_PATH = "response_format.json_schema.schema"


class NamedSchema(Form):
    """The schema of an answer."""

    name: FunctionName
    description: Text | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None


class ChatResponseFormat(Form):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class ReasoningOptions(Form):
    """How much the model may think, and whether that is shown; OpenRouter's form of it."""

    effort: Effort | None = None
    exclude: bool | None = None
    max_tokens: ReasoningTokens | None = None


class ChatRequest(Sampled):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[
        list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    ]
    model: Identifier | None = None
    n: Choices | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    include_reasoning: bool | None = None
    response_format: ChatResponseFormat | None = None
    tools: list[Any] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    function_call: Any = None
    store: bool | None = None
    metadata: Metadata | None = None
    user: Unused[Label] = None
    safety_identifier: Unused[Label] = None
    prompt_cache_key: Unused[Label] = None
    prompt_cache_retention: Unused[Label] = None
    prompt_cache_options: Unused[JsonObject] = None
    service_tier: Unused[Label] = None
    verbosity: Unused[Label] = None
    modalities: Unused[list[Label]] = None
    audio: Unused[JsonObject] = None
    prediction: Unused[JsonObject] = None
    moderation: Unused[JsonObject] = None
    web_search_options: Unused[JsonObject] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedChatRequest:
    """A request, understood."""

    turn: TurnRequest
    offered: Offered
    num_choices: int
    ignored: tuple[str, ...]
    """Paths of the fields that have no meaning here."""
    streams: bool
    includes_usage: bool
    shows_reasoning: bool
    stores: bool
    metadata: dict[str, str] | None


def to_turn(
    form: ChatRequest,
    dialogue: ChatHistory,
    messages: Sequence[Message],
    *,
    model: ServedModel,
    date: str,
    available: Mapping[str, Namespace] = NOTHING,
) -> ParsedChatRequest:
    """Translate a request.

    Args:
        form: as it was sent; its types and bounds are right.
        dialogue: its messages, translated.
        messages: what was said in it, with the exact ids of what was written here.
        model: what is served.
        date: the day the model is told, YYYY-MM-DD.
        available: the tools that run here: see `builtin_tools.available`.

    Raises:
        RequestError: two fields contradict each other, or one has no meaning; `param` is its path.
    """
    _refuse_old_forms(form)
    offered = _offered(form, available)
    choice, allowed = parse_tool_choice(form.tool_choice, offered)
    effort, may_reason = effort_of(_effort(form))
    reasoning = form.reasoning or ReasoningOptions()
    shape = _shape(form.response_format)
    conversation = _conversation(
        [*dialogue.told, *messages],
        effort=effort,
        offered=offered,
        date=date,
        response_format=shape,
    )
    turn = TurnRequest(
        conversation=conversation,
        params=sampling(
            form, max_tokens=_max_tokens(form), logprobs=_num_logprobs(form), model=model
        ),
        tool_choice=choice,
        allowed_tools=allowed,
        answer=to_shape(shape),
        allow_analysis=may_reason,
        max_analysis_tokens=reasoning.max_tokens,
        schema_paths={**offered.schema_paths, "": SCHEMA_PATH},
        calls=CallRules(asks=offered.asks),  # nobody can be asked here: they are refused
    )
    return ParsedChatRequest(
        turn=turn,
        offered=offered,
        num_choices=form.n or 1,
        ignored=(*offered.ignored, *dialogue.ignored, *_ignored(form, offered)),
        streams=bool(form.stream),
        includes_usage=bool((form.stream_options or StreamOptions()).include_usage),
        shows_reasoning=not reasoning.exclude and form.include_reasoning is not False,
        stores=bool(form.store),
        metadata=form.metadata,
    )


def _conversation(
    messages: Sequence[Mapping[str, Any] | Message], offered: Offered, **told: Any
) -> Conversation:
    try:
        conversation = to_conversation(messages, instructions=None, tools=offered.functions, **told)
        return replace(conversation, builtins=offered.builtins, namespaces=offered.namespaces_told)
    except RequestError as error:  # tools and messages were looked at before: it is the schema
        raise RequestError(str(error), param=SCHEMA_PATH, code="invalid_json_schema") from None


def _offered(form: ChatRequest, available: Mapping[str, Namespace]) -> Offered:
    """The tools; `web_search_options` is this API's way to offer the browser."""
    offered = parse_tools(form.tools, form="chat", available=available)
    if form.web_search_options is None or "browser" not in available:
        return offered
    browser: Builtin = "browser"
    return replace(offered, builtins=tuple(dict.fromkeys((*offered.builtins, browser))))


def _ignored(form: ChatRequest, offered: Offered) -> list[str]:
    used = {"web_search_options"} if "browser" in offered.builtins else set()
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


def _shape(form: ChatResponseFormat | None) -> dict[str, Any] | None:
    """The response format as `chat.conversation` reads it: without what was null."""
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    named = form.json_schema
    missing = "response_format.json_schema" if named is None else SCHEMA_PATH
    if named is None or named.schema_ is None:
        raise RequestError(
            f"{missing} is missing; a json_schema format needs it",
            param=missing,
            code="missing_field",
        )
    told = {
        "name": named.name,
        "description": named.description,
        "schema": named.schema_,
        "strict": named.strict,
    }
    return {
        "type": form.type,
        "json_schema": {name: value for name, value in told.items() if value is not None},
    }
