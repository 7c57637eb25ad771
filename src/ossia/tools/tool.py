"""What a tool is: a name, what it takes, what may come of it, and one function to call.

Knows no turn and no wire: who may call it, and when, is decided upstairs.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from ossia.harmony.messages import FunctionTool

Label = Literal["reads_untrusted", "reads_private", "external_effect"]
"""What a call brings into a conversation, or out of it. All three together need a yes."""
Approval = Literal["never", "ask", "always"]
"""Whether a call needs a yes: never; when labels add up or the tool asks for it; each time."""
Channel = Literal["analysis", "commentary"]

MAX_RESULT_BYTES = 64 << 10
"""What the model reads of one result; the middle of a longer one is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What is known of a tool before it is called."""

    name: str
    """As the model addresses it: python, browser.search, functions.f, or server.tool."""
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    """JSON schema of its arguments; None where its input is text, or without arguments."""
    input_format: Literal["json", "text"] = "json"
    """What it is called with: a JSON object, or plain text such as code."""
    channel: Channel = "commentary"
    """Where the model was trained to call it; its result goes where the call stood."""
    labels: frozenset[Label] = frozenset()
    approval: Approval = "never"
    seconds: float = 60.0
    """Time limit of one call."""

    @property
    def function(self) -> FunctionTool:
        """As the prompt declares it, by its name within its namespace."""
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
    """Cleaned: one name, no path."""
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of a call; a failure is a result too, in one line the model can act on."""

    text: str
    """What the model reads."""
    is_error: bool = False
    attachments: tuple[Attachment, ...] = ()
    origin: str | None = None
    """Host or file the text came from, if it is not to be trusted."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For the wire: the action of a search, the outputs of a cell."""


ALL_LABELS: frozenset[Label] = frozenset(("reads_untrusted", "reads_private", "external_effect"))


def adds_up(gathered: AbstractSet[Label], labels: AbstractSet[Label]) -> bool:
    """Whether a call joins what must not meet without a yes: untrusted, private, and a way out.

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
        """Its description; never changes."""
        ...

    async def call(self, arguments: str) -> ToolResult:
        """Run it. Whatever goes wrong with the arguments or the world is a result, not an error.

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
        """Whether this very call must be asked for, beyond what its labels say."""
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...


@runtime_checkable
class Toolkit(Protocol):
    """What the operator offers; it opens a session for each conversation."""

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
    """A session that wants to know what the user said: which pages may be opened unasked."""

    def heard(self, text: str) -> None:
        """The text of a user's message."""
        ...


@runtime_checkable
class Citable(Protocol):
    """A session whose results are cited by number."""

    def resolve(self, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        """URL and title of what a citation means; None if nothing."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A toolkit that holds something beyond its sessions: a process, a connection."""

    async def close(self) -> None:
        """Release it; idempotent."""
        ...


class Report(Protocol):
    """What was found when a tool's sandbox was tested."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, with `tier` and `label`."""
        ...


@runtime_checkable
class Tested(Protocol):
    """A toolkit whose sandbox was tested before it was offered."""

    @property
    def report(self) -> Report:
        """What the test found."""
        ...


@runtime_checkable
class Described(Protocol):
    """A toolkit that has words about its groups of tools."""

    @property
    def descriptions(self) -> Mapping[str, str]:
        """Descriptions by the name of the group."""
        ...
