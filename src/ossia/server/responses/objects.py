"""The Response object and its parts as JSON values.

Knows OpenAI's field names, not events or their order.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ossia.chat.events import TokenLogprob, Usage

Json = dict[str, Any]
ToolKind = Literal["function", "custom", "browser", "python", "mcp"]
"""The first two run on the client, the others on the server."""
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
"""Error codes of a failed response, from the closed list of OpenAI's clients."""

SOURCES, RESULTS = "web_search_call.action.sources", "web_search_call.results"
OUTPUTS = "code_interpreter_call.outputs"
"""The value of `include` for outputs of Python."""

LEAST_LOGPROB = -9999.0
"""OpenAI's substitute for minus infinity, which JSON lacks."""


@dataclass(frozen=True, slots=True)
class ServerTools:
    """The tools of an MCP server."""

    tools: Sequence[Json] = ()
    """Each with name, description and input_schema."""
    error: str | None = None
    """Why its tools could not be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSettings:
    """The settings that a response echoes, as used."""

    model: str
    instructions: str | None = None
    previous_response_id: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_logprobs: int = 0
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    """As in the request, in the API's forms only."""
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
    """Echoed settings that OpenAI lacks, such as seed and top_k."""

    kinds: Mapping[str, ToolKind] = field(default_factory=dict)
    """Kinds of client-side tools by name. Not echoed."""
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name in the prompt -> namespace and name, for tools in a namespace. Not echoed."""
    include_logprobs: bool = False
    """Whether `include` names message.output_text.logprobs. Not echoed."""
    includes: frozenset[str] = frozenset()
    """Other values of `include`. Not echoed."""
    servers: Mapping[str, ServerTools] = field(default_factory=dict)
    """MCP servers by label. Not echoed."""
    approved: Mapping[str, str] = field(default_factory=dict)
    """Call id -> approval request, for approved or denied calls. Not echoed."""
    container_id: str = field(default_factory=lambda: new_id("cntr"))
    """Container id of Python for results without one. Not echoed."""

    def echoed_fields(self) -> Json:
        """Return the fields of the Response object that repeat the request."""
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
    """Return the kind of a called tool.

    Args:
        name: a function's own name, or the full name of a built-in tool.
        kinds: of the client-side tools by name.
    """
    if name in kinds:
        return kinds[name]
    if name == "python":
        return "python"
    group, dot, _ = name.partition(".")
    return "function" if not dot else "browser" if group == "browser" else "mcp"


def runs_here(name: str, kinds: Mapping[str, ToolKind]) -> bool:
    """Whether a call runs on the server. See `tool_kind`."""
    return tool_kind(name, kinds) in ("browser", "python", "mcp")


def new_id(prefix: str) -> str:
    """Create an unguessable id: the prefix, `_` and 48 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(24)}"


def usage_object(usage: Usage) -> Json:
    """Return the token usage of a response with every detail that clients require."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def logprob_object(scored: TokenLogprob) -> Json:
    """Return a token's log probability with the top alternatives."""
    return {**_scored(scored), "top_logprobs": [*map(_scored, scored.top)]}


def _scored(scored: TokenLogprob) -> Json:
    return {
        "token": scored.token,
        "bytes": scored.bytes,
        "logprob": max(scored.logprob, LEAST_LOGPROB),
    }
