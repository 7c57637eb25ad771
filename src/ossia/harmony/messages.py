"""Messages, tools and conversations: immutable, validated when created.

Defines names, channels and limits; `render.py` turns them into tokens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as calendar_date
from typing import Any, Literal, Self, get_args

from ossia.errors import RequestError
from ossia.harmony.schema_rules import Unfolded, check_size, check_together, normalise

Role = Literal["developer", "user", "assistant", "tool"]
Channel = Literal["analysis", "commentary", "final"]
MESSAGE_FIELDS = (
    "role", "content", "channel", "recipient", "name", "content_type", "sampled_ids",
)  # fmt: skip
"""Fields of a message as JSON, in order; stored turns depend on it."""
Effort = Literal["low", "medium", "high"]
Builtin = Literal["browser", "python"]

IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
KNOWLEDGE_CUTOFF = "2024-06"
FUNCTIONS = "functions"
"""The namespace of every function a developer defines."""

MAX_TOOLS = 128
MAX_MESSAGES = 10_000
MAX_TEXT_CHARS = 8 << 20
"""Over a million tokens, eight times the context; refuses nothing that could be answered."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESS = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})?")
_CONTENT_TYPE = re.compile(r"(<\|constrain\|>)?[A-Za-z0-9_./+-]{1,64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CUTOFF = re.compile(r"[0-9]{4}-[0-9]{2}")
_ROLES = frozenset((*get_args(Role), "system"))
_NAMESPACES = frozenset(("browser", FUNCTIONS))
_RESERVED = _NAMESPACES | _ROLES | {"python"}


def check_name(name: object, what: str) -> None:
    """Refuse a name that could be parsed as something else."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            f"{what} is {name!r:.80}; expected 1 to 64 letters, digits, underscores or dashes"
        )


def _check_one_of(value: object, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise RequestError(f"{what} is {value!r:.80}; expected one of {', '.join(allowed)}")


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise RequestError(f"{what} is a {type(text).__name__}; expected text")
    if len(text) > MAX_TEXT_CHARS:
        raise RequestError(f"{what} has {len(text)} characters, more than {MAX_TEXT_CHARS}")


def _check_pattern(value: str | None, pattern: re.Pattern[str], what: str, expected: str) -> None:
    if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
        raise RequestError(f"{what} is {value!r:.80}; expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str | tuple[str, ...]
    """Text, or parts of it that are encoded one by one and never joined."""
    channel: Channel | None = None
    """Channel of an assistant message; of a tool result, the channel of the call."""
    recipient: str | None = None
    """The tool an assistant message calls, for example functions.f or python."""
    name: str | None = None
    """Author: a tool's full name, or a user's optional name."""
    content_type: str | None = None
    """For example json, code or <|constrain|>json; decoration, as the model gave it."""
    sampled_ids: tuple[int, ...] | None = None
    """Ids as sampled, from after the role up to the terminator; rendered instead of the rest."""

    def __post_init__(self) -> None:
        """Refuse fields that would misrepresent author or recipient."""
        _check_one_of(self.role, get_args(Role), "the role of a message")
        for part in self.parts:
            _check_text(part, f"the content of a {self.role} message")
        _check_pattern(self.content_type, _CONTENT_TYPE, "a content type", "a plain word")
        if self.role == "assistant":
            self._check_assistant()
        elif self.role == "tool":
            self._check_tool()
        else:
            self._check_other_role()

    def to_json(self, fields: Sequence[str] = MESSAGE_FIELDS) -> list[Any]:
        """The values of some fields in order, as JSON holds them."""
        return [getattr(self, name) for name in fields]

    @classmethod
    def from_json(
        cls, values: Sequence[Any], fields: Sequence[str] = MESSAGE_FIELDS, **others: Any
    ) -> Self:
        """A message from the values of `to_json` and `others`, fields that these lack."""
        found = dict(zip(fields, values, strict=True))
        lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        return cls(**{**found, **lists, **others})

    @property
    def parts(self) -> tuple[str, ...]:
        """The content's parts, one for a plain text."""
        return self.content if isinstance(self.content, tuple) else (self.content,)

    @property
    def text(self) -> str:
        """The whole content as one text."""
        return "".join(self.parts)

    def _check_assistant(self) -> None:
        _check_one_of(self.channel, get_args(Channel), "the channel of an assistant message")
        address = "a name, or a namespace and a name, of letters, digits, underscores and dashes"
        _check_pattern(self.recipient, _ADDRESS, "a recipient", address)
        if self.name is not None:
            raise RequestError("an assistant message has a name; only users and tools have")
        if self.recipient is not None and self.channel == "final":
            raise RequestError(
                f"a final message is sent to {self.recipient}; calls go on analysis or commentary"
            )

    def _check_tool(self) -> None:
        _check_one_of(self.channel, ("analysis", "commentary"), "the channel of a tool's result")
        _check_pattern(self.name, _ADDRESS, "the name of a tool", "the name the call was sent to")
        name = self.name or ""
        if not name or name in _NAMESPACES or name.split(".")[0] in _ROLES:
            raise RequestError(  # only the name is rendered: another would forge a role
                f"the name of a tool's result is {self.name!r}; expected the name that was called"
            )
        if self.recipient not in (None, "assistant"):
            raise RequestError(f"a tool's result goes to {self.recipient!r:.80}, not to assistant")

    def _check_other_role(self) -> None:
        if self.channel is not None or self.recipient is not None:
            raise RequestError(f"a {self.role} message has a channel or recipient; expected none")
        if self.name is not None:
            check_name(self.name, f"the name of a {self.role}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    """JSON schema of one object, or None for a function without parameters."""
    strict: bool = False
    """Whether to refuse a schema that cannot be enforced; otherwise any object is legal."""
    input_format: Literal["json", "text"] = "json"
    """Kind of its input: a JSON object, or plain text."""
    grammar: tuple[Literal["lark", "regex"], str] | None = None
    """Constraint of its plain text: a syntax and a grammar."""
    unfolded: Unfolded | None = field(init=False, repr=False, compare=False)
    """The normalised parameters, cached."""

    def __post_init__(self) -> None:
        """Refuse what could not be spelt in the tools section."""
        check_name(self.name, "the name of a function")
        _check_one_of(
            self.input_format, ("json", "text"), f"the input format of function {self.name}"
        )
        _check_text(self.description, f"the description of function {self.name}")
        if self.grammar is not None:
            self._check_grammar(*self.grammar)
        unfolded = None if self.parameters is None else normalise(self.parameters)
        object.__setattr__(self, "unfolded", unfolded)

    def _check_grammar(self, syntax: object, definition: object) -> None:
        _check_one_of(syntax, ("lark", "regex"), f"the syntax of the grammar of {self.name}")
        _check_text(definition, f"the grammar of function {self.name}")
        if self.input_format != "text":
            raise RequestError(f"function {self.name} takes JSON and has a grammar; give a schema")

    @property
    def num_parts(self) -> int:
        """What its parameters unfold to; see `schema_rules.Unfolded`."""
        return 0 if self.unfolded is None else self.unfolded.num_parts


@dataclass(frozen=True, slots=True)
class Namespace:
    """A group of tools under one name; without tools, the name itself is the tool."""

    name: str
    description: str
    tools: tuple[FunctionTool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """A response format: stated in the prompt, enforced by the grammar."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be spelt in the developer message."""
        check_name(self.name, "the name of a response format")
        _check_text(self.description, f"the description of response format {self.name}")
        check_size(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The content of a prompt: system and developer settings, then messages."""

    messages: tuple[Message, ...] = ()
    effort: Effort = "medium"
    date: str | None = None
    """Day the conversation began, YYYY-MM-DD; fixed, or the prefix cache dies at midnight."""
    instructions: str | None = None
    functions: tuple[FunctionTool, ...] = ()
    builtins: tuple[Builtin, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    """Namespaces of MCP servers."""
    response_formats: tuple[ResponseFormat, ...] = ()
    identity: str = IDENTITY
    knowledge_cutoff: str | None = KNOWLEDGE_CUTOFF

    def __post_init__(self) -> None:
        """Refuse a conversation that cannot be rendered."""
        _check_one_of(self.effort, get_args(Effort), "the reasoning effort")
        _check_text(self.identity, "the identity")
        if self.instructions is not None:
            _check_text(self.instructions, "the instructions")
        _check_pattern(self.knowledge_cutoff, _CUTOFF, "the knowledge cutoff", "YYYY-MM")
        if self.date is not None:
            _check_date(self.date)
        if len(self.messages) > MAX_MESSAGES:
            raise RequestError(f"{len(self.messages)} messages; at most {MAX_MESSAGES} are taken")
        for builtin in self.builtins:
            _check_one_of(builtin, get_args(Builtin), "a built-in tool")
        self._check_tools()

    def _check_tools(self) -> None:
        others = (tool for namespace in self.namespaces for tool in namespace.tools)
        tools = (*self.functions, *others)
        if len(tools) > MAX_TOOLS:
            raise RequestError(f"{len(tools)} functions are offered; at most {MAX_TOOLS} are taken")
        check_together(sum(tool.num_parts for tool in tools))
        for namespace in self.namespaces:
            check_name(namespace.name, "the name of a group of tools")
            if namespace.name in _RESERVED:
                raise RequestError(f"a group of tools is called {namespace.name}; rename it")
        groups: dict[str, list[str]] = {
            "function": [function.name for function in self.functions],
            "built-in tool": list(self.builtins),
            "group of tools": [namespace.name for namespace in self.namespaces],
            "response format": [shape.name for shape in self.response_formats],
        }
        for what, names in groups.items():
            if twice := {name for name in names if names.count(name) > 1}:
                raise RequestError(f"{what} {min(twice)} is given more than once; name each once")


def _check_date(date: str) -> None:
    _check_pattern(date, _DATE, "the date", "YYYY-MM-DD")
    try:
        calendar_date.fromisoformat(date)
    except ValueError:
        raise RequestError(f"the date is {date}; no such day") from None
