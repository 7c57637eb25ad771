"""The Response object and its parts, as plain JSON values: what a client reads.

Knows the wire's field names; does not know events, their order, or who reads them.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ossia.chat.events import TokenLogprob, Usage

Json = dict[str, Any]
ToolKind = Literal["function", "custom", "browser", "python", "mcp"]
"""The first two are run by the caller, the others here."""
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
"""Of a failed response; OpenAI's clients know a closed list, of which these are ours."""

SOURCES, RESULTS = "web_search_call.action.sources", "web_search_call.results"
OUTPUTS = "code_interpreter_call.outputs"
"""What `include` may name of calls that are run here."""

LEAST_LOGPROB = -9999.0
"""What OpenAI says instead of minus infinity, which JSON has not."""


@dataclass(frozen=True, slots=True)
class ServerTools:
    """What an MCP server lists."""

    tools: Sequence[Json] = ()
    """Each with name, description and input_schema."""
    error: str | None = None
    """Why its tools could not be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSettings:
    """Every setting that a response echoes, as it was used."""

    model: str
    instructions: str | None = None
    previous_response_id: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_logprobs: int = 0
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    """As given, in the API's forms only."""
    tool_choice: str | Mapping[str, Any] = "auto"
    parallel_tool_calls: bool = True
    text: Mapping[str, Any] = field(default_factory=lambda: {"format": {"type": "text"}})
    reasoning: Mapping[str, Any] = field(
        default_factory=lambda: {"effort": "medium", "summary": None}
    )
    truncation: Literal["auto", "disabled"] = "disabled"
    store: bool = True
    background: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = "default"
    extensions: Mapping[str, Any] = field(default_factory=dict)
    """Settings that OpenAI has not, such as seed and top_k; said beside the others."""

    kinds: Mapping[str, ToolKind] = field(default_factory=dict)
    """Of each tool of the caller by its name; the names of others tell theirs. Not echoed."""
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name in the prompt -> namespace and name, for tools that came in a namespace. Not echoed."""
    include_logprobs: bool = False
    """Whether `include` names message.output_text.logprobs. Not echoed."""
    includes: frozenset[str] = frozenset()
    """What else `include` names. Not echoed."""
    servers: Mapping[str, ServerTools] = field(default_factory=dict)
    """MCP servers by their labels. Not echoed."""
    approved: Mapping[str, str] = field(default_factory=dict)
    """Of calls that were decided on, by call id: the approval request. Not echoed."""
    container_id: str = field(default_factory=lambda: new_id("cntr"))
    """Of the interpreter, where a result does not tell. Not echoed."""

    def echoed_fields(self) -> Json:
        """The fields of the Response object that only repeat the request."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _INTERNAL:
            del named[name]
        return {**self.extensions, **named, "tools": list(self.tools)}


_INTERNAL = frozenset(
    (
        *(
            "extensions",
            "kinds",
            "namespaces",
            "include_logprobs",
            "includes",
            "servers",
            "approved",
        ),
        "container_id",
    )
)


def tool_kind(name: str, kinds: Mapping[str, ToolKind]) -> ToolKind:
    """What a call is of.

    Args:
        name: as a call has it: a function's own name, or the full name of a tool that runs here.
        kinds: of the caller's own tools, by their names.
    """
    if name in kinds:
        return kinds[name]
    if name == "python":
        return "python"
    group, dot, _ = name.partition(".")
    return "function" if not dot else "browser" if group == "browser" else "mcp"


def runs_here(name: str, kinds: Mapping[str, ToolKind]) -> bool:
    """Whether the caller has no part in a call. See `tool_kind`."""
    return tool_kind(name, kinds) in ("browser", "python", "mcp")


def new_id(prefix: str) -> str:
    """A name that nobody can guess, such as `msg_` and 48 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(24)}"


def usage_object(usage: Usage) -> Json:
    """The tokens of a response, with every detail that clients require."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def logprob_object(scored: TokenLogprob) -> Json:
    """One token of the answer with the likeliest ones in its place."""
    return {**_scored(scored), "top_logprobs": [*map(_scored, scored.top)]}


def _scored(scored: TokenLogprob) -> Json:
    return {
        "token": scored.token,
        "bytes": scored.bytes,
        "logprob": max(scored.logprob, LEAST_LOGPROB),
    }
