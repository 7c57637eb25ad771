"""Translates a Responses request to a turn, and to the settings that the response echoes.

Knows the request's fields; knows no item, no store and no HTTP.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from ossia.chat.messages import joined_instructions, to_answer_schema, to_response_formats
from ossia.chat.request import ApprovalDecision, ToolPolicy, TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Conversation, Message, Namespace
from ossia.providers.provider import ServedModel
from ossia.server.api.builtin_tools import BUILTIN_TYPES
from ossia.server.api.fields import SamplingFields, effort_of, ignored
from ossia.server.api.models import named
from ossia.server.api.tool_choice import parse_tool_choice
from ossia.server.api.tools import (
    NOTHING,
    RequestTools,
    parse_tools,
    require_scope,
)
from ossia.server.responses.objects import (
    OUTPUTS,
    RESULTS,
    SOURCES,
    Json,
    ResponseSettings,
    ServerTools,
)
from ossia.server.responses.request import (
    ENCRYPTED,
    LOGPROBS,
    CreateRequest,
    ReasoningConfig,
    TextConfig,
    TextFormat,
)

_OF_TOOLS = (SOURCES, RESULTS, OUTPUTS)
FORMAT_PATH = "text.format"
_EXTENSIONS = [name for name in SamplingFields.model_fields if name not in ("temperature", "top_p")]
"""Sampling parameters that OpenAI's Responses API lacks."""


@dataclass(frozen=True, slots=True)
class ParsedResponseRequest:
    """A request with parsed fields; its input is parsed separately."""

    form: CreateRequest
    tools: RequestTools
    model: ServedModel
    model_name: str
    """Public name of the model."""

    @classmethod
    def of(
        cls,
        form: CreateRequest,
        model: ServedModel,
        available: Mapping[str, Namespace] = NOTHING,
        scopes: Collection[str] = (),
    ) -> "ParsedResponseRequest":
        """Parse a request's fields.

        Args:
            form: the validated request.
            model: the served model.
            available: the built-in tools.
            scopes: of the caller.

        Raises:
            NotFound: it names another model.
            RequestError: a tool is invalid.
            Forbidden: the caller may not use built-in tools.
        """
        name = named(form.model, model)
        tools = parse_tools(form.tools, form="responses", available=available)
        require_scope(tools, scopes)
        return cls(form, tools, model, name)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Paths of ignored fields."""
        known = (ENCRYPTED, LOGPROBS, *_OF_TOOLS)
        included = enumerate(self.form.include or ())
        idle = [f"include[{at}]" for at, name in included if name not in known]
        return (*self.tools.ignored, *idle, *ignored(self.form))

    def to_turn(
        self, messages: Sequence[Message], date: str, decision: ApprovalDecision | None = None
    ) -> TurnRequest:
        """Create the turn.

        Leading developer messages join the instructions, which stand next to the tools.

        Args:
            messages: the whole history, earlier responses included.
            date: of the prompt, YYYY-MM-DD.
            decision: on the waiting call, if there is one.

        Raises:
            RequestError: fields contradict each other or are invalid for this model; or
                the tool of an approved call is not in the request.
        """
        form = self.form
        choice, allowed = parse_tool_choice(form.tool_choice, self.tools)
        effort, may_reason = effort_of(form.reasoning.effort if form.reasoning else None)
        response_format = _response_format(form.text.format if form.text else None)
        leading = list(takewhile(lambda message: message.role == "developer", messages))
        return TurnRequest(
            conversation=Conversation(
                messages=tuple(messages[len(leading) :]),
                effort=effort,
                date=date,
                instructions=joined_instructions(
                    form.instructions, *(message.text for message in leading)
                ),
                functions=self.tools.functions,
                builtins=self.tools.builtins,
                namespaces=self.tools.callable_servers,
                response_formats=to_response_formats(response_format, FORMAT_PATH),
            ),
            **form.to_generation(
                max_tokens=form.max_output_tokens,
                logprobs=self._num_logprobs(),
                model=self.model,
            ),
            tool_choice=choice,
            allowed_tools=allowed,
            answer=to_answer_schema(response_format, FORMAT_PATH),
            allow_analysis=may_reason,
            max_analysis_tokens=form.reasoning.max_tokens if form.reasoning else None,
            schema_paths={**self.tools.schema_paths, "": f"{FORMAT_PATH}.schema"},
            tool_policy=self._rules(decision),
        )

    def _rules(self, decision: ApprovalDecision | None) -> ToolPolicy:
        """Create the policy for calls of built-in tools."""
        theirs = tuple(
            f"{server.name}.{tool.name}" for server in self.tools.servers for tool in server.tools
        )
        if decision and decision.allows and decision.call.recipient not in theirs:
            raise RequestError(
                f"the call of {decision.call.recipient} is approved, but its server is not among "
                "the tools; offer it again, they are not taken from the earlier response",
                param="tools",
                code="tool_unavailable",
            )
        return ToolPolicy(
            max_calls=self.form.max_tool_calls,
            require_approval=self.tools.asks,
            pause_for_approval=theirs,
            decision=decision,
        )

    def settings(self) -> ResponseSettings:
        """The settings that the response echoes, as used."""
        form = self.form
        return ResponseSettings(
            model=self.model_name,
            instructions=form.instructions,
            previous_response_id=form.previous_response_id,
            temperature=1.0 if form.temperature is None else form.temperature,
            top_p=1.0 if form.top_p is None else form.top_p,
            top_logprobs=form.top_logprobs or 0,
            max_output_tokens=form.max_output_tokens,
            max_tool_calls=form.max_tool_calls,
            tools=[echoed for tool in form.tools or () for echoed in _echo_tool(tool, self.tools)],
            tool_choice=_echo_choice(form.tool_choice),
            parallel_tool_calls=form.parallel_tool_calls is not False,
            text=_echo_text(form.text or TextConfig()),
            reasoning=_echo_reasoning(form.reasoning or ReasoningConfig()),
            truncation=form.truncation or "disabled",
            store=form.stores,
            background=bool(form.background),
            metadata=form.metadata or {},
            user=form.user,
            safety_identifier=form.safety_identifier,
            prompt_cache_key=form.prompt_cache_key,
            extensions={
                name: getattr(form, name) for name in _EXTENSIONS if getattr(form, name) is not None
            },
            kinds=self.tools.kinds,
            namespaces=self.tools.namespaces,
            include_logprobs=self._num_logprobs() is not None,
            includes=frozenset(name for name in _OF_TOOLS if form.includes(name)),
            servers={server.name: _server_tools(server) for server in self.tools.servers},
        )

    def _num_logprobs(self) -> int | None:
        are_requested = self.form.includes(LOGPROBS) or self.form.top_logprobs
        return self.form.top_logprobs or 0 if are_requested else None


def _response_format(shape: TextFormat | None) -> Json | None:
    """Return the response format in the form of `chat.messages`."""
    return None if shape is None else {"type": shape.type, "json_schema": shape.to_dict()}


_ECHOED_FIELDS = {
    "function": ("type", "name", "description", "parameters", "strict"),
    "custom": ("type", "name", "description", "format"),
    "namespace": ("type", "name", "description", "tools"),
}
"""Echoed fields of each type of tool; ignored tools are not echoed."""


def _echo_tool(tool: Mapping[str, Any], tools: RequestTools) -> list[Json]:
    """Return the echoed form of a tool; nothing for an ignored one."""
    if BUILTIN_TYPES.get(tool["type"]) in tools.builtins:
        return [_echo_builtin(tool)]
    if tool["type"] == "mcp":
        is_used = tool.get("server_label") in [server.name for server in tools.servers]
        keys = ("type", "server_label", "allowed_tools", "require_approval")
        return [{key: tool[key] for key in keys if tool.get(key) is not None}] if is_used else []
    if tool["type"] not in _ECHOED_FIELDS:
        return []
    echo = {key: tool[key] for key in _ECHOED_FIELDS[tool["type"]] if tool.get(key) is not None}
    if tool["type"] == "function":
        echo = {
            **echo,
            "parameters": tool.get("parameters"),
            "strict": bool(tool.get("strict")),
        }
    if tool["type"] == "namespace":
        inner = [each for one in tool["tools"] for each in _echo_tool(one, RequestTools())]
        echo = {"description": "", **echo, "tools": inner}
    return [echo]


def _echo_builtin(tool: Mapping[str, Any]) -> Json:
    """Return the echoed form of a built-in tool, in OpenAI's types."""
    if tool["type"] == "code_interpreter":
        return {"type": "code_interpreter", "container": {"type": "auto"}}
    return {"type": "web_search" if tool["type"] == "browser_search" else tool["type"]}


def _server_tools(server: Namespace) -> ServerTools:
    """Return the tools of an MCP server in the API's form."""
    if not server.tools:
        return ServerTools(error=f"the server {server.name} cannot be reached")
    tools = (
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.parameters or {"type": "object"},
        }
        for tool in server.tools
    )
    return ServerTools(tuple(tools))


def _echo_choice(choice: str | Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    """Return the choice in this API's form, even if sent in that of Chat Completions."""
    if isinstance(choice, dict) and isinstance(inner := choice.get(choice["type"]), dict):
        return {"type": choice["type"], **inner}
    if isinstance(choice, dict) and BUILTIN_TYPES.get(choice["type"]) == "browser":
        return {"type": "web_search_preview"}  # the only name that OpenAI's type allows
    return choice or "auto"


def _echo_text(text: TextConfig) -> Json:
    shape = text.format
    echo: Json = {"format": {"type": shape.type if shape else "text"}}
    if shape and shape.type == "json_schema":
        echo["format"] |= {
            "name": shape.name or "answer",
            "schema": shape.schema_,
            "strict": shape.strict is not False,
        }
        if shape.description is not None:
            echo["format"]["description"] = shape.description
    return echo if text.verbosity is None else {**echo, "verbosity": text.verbosity}


def _echo_reasoning(reasoning: ReasoningConfig) -> Json:
    effort, may_reason = effort_of(reasoning.effort)
    echo: Json = {"effort": effort if may_reason else "none", "summary": reasoning.summary}
    return echo if reasoning.max_tokens is None else {**echo, "max_tokens": reasoning.max_tokens}
