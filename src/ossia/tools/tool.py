"""The protocol of tools: a spec, a call, a result; sessions and toolkits.

Independent of turns and wire formats: who may call a tool, and when, is decided in `chat`.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from ossia.harmony.messages import FunctionTool

Label = Literal["reads_untrusted", "reads_private", "external_effect"]
"""What a call brings into or out of a conversation. All three together need approval."""
Approval = Literal["never", "ask", "always"]
"""When a call needs approval: never; if labels add up or the tool asks for it; always."""
Channel = Literal["analysis", "commentary"]

MAX_ERROR_CHARS = 500
"""Limit of an error text for the model."""
MAX_RESULT_BYTES = 64 << 10
"""Limit of a result for the model; a longer one is truncated in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """The description of a tool."""

    name: str
    """Its full name: python, browser.search, functions.f, or server.tool."""
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    """JSON schema of its arguments; None where its input is text, or without arguments."""
    input_format: Literal["json", "text"] = "json"
    """Kind of its input: a JSON object, or plain text such as code."""
    channel: Channel = "commentary"
    """Channel of its calls and results, as trained."""
    labels: frozenset[Label] = frozenset()
    approval: Approval = "never"
    seconds: float = 60.0
    """Time limit of one call."""

    @property
    def function(self) -> FunctionTool:
        """Its declaration in the prompt, by its name within its namespace."""
        return FunctionTool(
            name=self.name.partition(".")[2] or self.name,
            description=self.description,
            parameters=self.parameters,
            input_format=self.input_format,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a call returned."""

    name: str
    """A plain file name without a path."""
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The result of a call; a failure is one too, in a line the model can act on."""

    text: str
    """The text for the model."""
    is_error: bool = False
    attachments: tuple[Attachment, ...] = ()
    origin: str | None = None
    """Host or file the text came from, if it is not to be trusted."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Details for API clients: the action of a search, the outputs of a cell."""


def error_result(what: str) -> ToolResult:
    """Describe a failure in one line, truncated."""
    line = " ".join(what.split())
    cut = line if len(line) <= MAX_ERROR_CHARS else f"{line[: MAX_ERROR_CHARS - 1]}…"
    return ToolResult(text=f"error: {cut}", is_error=True)


ALL_LABELS: frozenset[Label] = frozenset(("reads_untrusted", "reads_private", "external_effect"))


def adds_up(gathered: AbstractSet[Label], labels: AbstractSet[Label]) -> bool:
    """Whether a call needs approval since it joins untrusted, private, and a way out.

    Args:
        gathered: what earlier calls brought into the conversation.
        labels: of the tool that is called now.
    """
    if gathered | labels != ALL_LABELS:
        return False
    return "external_effect" in labels or not labels <= gathered


@runtime_checkable
class Tool(Protocol):
    """One tool of one conversation. Its state, if any, is that conversation's."""

    @property
    def spec(self) -> ToolSpec:
        """Its constant description."""
        ...

    async def call(self, arguments: str) -> ToolResult:
        """Run a call. Faults of the arguments or the environment are results, not exceptions.

        Args:
            arguments: as the model wrote them: JSON text, or plain text.
        """
        ...


class ToolSession(Protocol):
    """The tools of one conversation, with their state: pages read, variables set."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Every tool of the session."""
        ...

    def needs_approval(self, name: str, arguments: str) -> bool:
        """Whether this call needs approval, beyond what its labels say."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...


@runtime_checkable
class Toolkit(Protocol):
    """A set of tools; opens a session for each conversation."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The specs of all its tools; known without a session."""
        ...

    async def open(self) -> ToolSession:
        """Begin a conversation.

        Raises:
            OssiaError: it cannot be offered now, with the reason.
        """
        ...


@runtime_checkable
class Listener(Protocol):
    """A session that reads user messages: they name pages that need no approval."""

    def heard(self, text: str) -> None:
        """Read the text of a user message."""
        ...


@runtime_checkable
class Citable(Protocol):
    """A session whose results are cited by number."""

    def resolve(self, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        """URL and title of a citation; None if it is unknown."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A toolkit that holds something beyond its sessions: a process, a connection."""

    async def close(self) -> None:
        """Release it; idempotent."""
        ...


class Report(Protocol):
    """The self-test report of a tool's sandbox."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, with `tier` and `label`."""
        ...


@runtime_checkable
class Tested(Protocol):
    """A toolkit whose sandbox was tested before it was offered."""

    @property
    def report(self) -> Report:
        """The report of the self-test."""
        ...


@runtime_checkable
class Described(Protocol):
    """A toolkit that describes its groups of tools."""

    @property
    def descriptions(self) -> Mapping[str, str]:
        """Descriptions by the name of the group."""
        ...
