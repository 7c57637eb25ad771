"""The request of one turn. Knows no tokenizer, no token, no HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ossia.engine.request import GenerationRequest
from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, Conversation, FunctionTool, Message, Namespace
from ossia.harmony.output_rules import CHOICES, OutputRules
from ossia.harmony.prompt_text import BUILTINS

MAX_ANALYSIS_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSchema:
    """The JSON schema of the answer; reasoning, preambles and calls are free of it."""

    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    strict: bool = True
    """Whether an unsupported schema is refused; otherwise any object is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecision:
    """Approval or denial of the call that ended an earlier turn."""

    call: Message
    """The call, exactly as generated."""
    call_id: str
    allows: bool
    reason: str = ""
    """The user's reason for denying, which the model reads as data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """Limits on calls of built-in tools in one turn; they can only tighten the tools' own."""

    max_calls: int | None = None
    """Limit of calls."""
    require_approval: tuple[str, ...] = ()
    """Full names of tools whose calls all need approval."""
    pause_for_approval: tuple[str, ...] = ()
    """Full names of tools for whose approval the turn ends; a later turn has the decision."""
    decision: ApprovalDecision | None = None
    """Decision on the call that the turn starts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest(GenerationRequest):
    """One turn: conversation, sampling parameters, tools."""

    conversation: Conversation
    tool_choice: str = "auto"
    """auto, none, required, or the name of one tool that must be called."""
    allowed_tools: tuple[str, ...] | None = None
    """Names of the tools that may be called; None: all."""
    answer: AnswerSchema | None = None
    allow_analysis: bool = True
    max_analysis_tokens: int | None = None
    """Limit of reasoning, after which the answer is forced. 0: none."""
    schema_paths: Mapping[str, str] = field(default_factory=dict)
    """Path of each tool's schema or grammar in the request, by name; "" is the answer's."""
    tool_policy: ToolPolicy = ToolPolicy()
    session: str | None = None
    """Key of the built-in tools' session; None: a new one."""

    def __post_init__(self) -> None:
        """Validate."""
        most = self.max_analysis_tokens
        if most is not None and not 0 <= most <= MAX_ANALYSIS_TOKENS:
            raise RequestError(
                f"max_analysis_tokens is {most}; it must be from 0 to {MAX_ANALYSIS_TOKENS}",
                param="max_analysis_tokens",
            )
        tools = self.tools
        if self.tool_choice not in CHOICES and self.full_name(self.tool_choice) not in tools:
            raise RequestError(
                f"the tool choice is {self.tool_choice!r:.80}, which is not offered; name a tool "
                f"of the request, or one of {', '.join(CHOICES)}",
                param="tool_choice",
            )
        if self.tool_choice == "required" and not tools:
            raise RequestError(
                "a tool call is required, but no tool is offered; offer one", param="tool_choice"
            )
        if unknown := {self.full_name(name) for name in self.allowed_tools or ()} - tools.keys():
            raise RequestError(
                f"the allowed tool {min(unknown)!r:.80} is not offered; name tools of the request",
                param="tool_choice.tools",
            )

    @property
    def tools(self) -> dict[str, FunctionTool]:
        """Every tool of the prompt by full name."""
        prompt = self.conversation
        builtins = [BUILTINS[name] for name in prompt.builtins]
        groups = (Namespace(FUNCTIONS, "", prompt.functions), *builtins, *prompt.namespaces)
        found = {f"{group.name}.{tool.name}": tool for group in groups for tool in group.tools}
        if "python" in prompt.builtins:
            found["python"] = FunctionTool(name="python", input_format="text")
        return found

    @property
    def rules(self) -> OutputRules:
        """The rules of the output grammar."""
        allowed = (
            None if self.allowed_tools is None else set(map(self.full_name, self.allowed_tools))
        )
        recipients = {
            name: tool.input_format
            for name, tool in self.tools.items()
            if allowed is None or name in allowed
        }
        is_named = self.tool_choice not in CHOICES
        return OutputRules(
            recipients=recipients,
            choice=self.full_name(self.tool_choice) if is_named else self.tool_choice,
            final_kind="text" if self.answer is None else "json",
            allow_analysis=self.allow_analysis,
        )

    def full_name(self, name: str) -> str:
        """Add the namespace to a function's name; other tools have full names already."""
        return name if name in self.tools else f"{FUNCTIONS}.{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest(GenerationRequest):
    """A completion of text or ids, without the harmony format."""

    prompt: str | tuple[int, ...]
