"""Toolkits and single tools as one session of a conversation, and as the prompt declares them.

Who calls a tool, and whether, is decided in `chat`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, Builtin, FunctionTool, Namespace
from ossia.harmony.prompt_text import BUILTINS
from ossia.tools.tool import (
    Citable,
    Closable,
    Described,
    Listener,
    Tool,
    Toolkit,
    ToolSession,
    ToolSpec,
)


@dataclass(frozen=True, slots=True)
class LazyToolkit:
    """A toolkit that starts at its first use."""

    start: Callable[[], Awaitable[Toolkit]]


ToolSource = Tool | Toolkit | LazyToolkit | Callable[..., Any]
"""A source of tools: a tool, a toolkit, or a Python function with type hints."""


@dataclass(frozen=True, slots=True)
class PromptTools:
    """The fields of a `Conversation` that declare tools."""

    builtins: tuple[Builtin, ...]
    functions: tuple[FunctionTool, ...]
    namespaces: tuple[Namespace, ...]


class ConversationTools:
    """All tools of one conversation."""

    def __init__(
        self,
        tools: Sequence[Tool],
        sessions: Sequence[ToolSession],
        toolkits: Sequence[Toolkit] = (),
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """Join single tools and sessions.

        Args:
            tools: single ones.
            sessions: of toolkits; closed with this one.
            toolkits: to be closed as well.
            descriptions: of groups of tools, by name.

        Raises:
            RequestError: two tools have one name.
        """
        self._toolkits = tuple(toolkits)
        self.descriptions = dict(descriptions or {})
        self._sessions = tuple(sessions)
        self.tools = (*tools, *(tool for session in sessions for tool in session.tools))
        names = [tool.spec.name for tool in self.tools]
        if twice := {name for name in names if names.count(name) > 1}:
            raise RequestError(f"two tools are called {min(twice)}; rename one")

    def needs_approval(self, name: str, arguments: str) -> bool:
        return any(
            session.needs_approval(name, arguments)
            for session in self._sessions
            if name in {tool.spec.name for tool in session.tools}
        )

    def heard(self, text: str) -> None:
        for session in self._sessions:
            if isinstance(session, Listener):
                session.heard(text)

    def resolve(self, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        for session in self._sessions:
            if isinstance(session, Citable) and (found := session.resolve(cursor, line)):
                return found
        return None

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()
        for toolkit in self._toolkits:
            await close_toolkit(toolkit)


def described(toolkit: Toolkit) -> Mapping[str, str]:
    """A toolkit's descriptions of its groups of tools."""
    return toolkit.descriptions if isinstance(toolkit, Described) else {}


async def close_toolkit(toolkit: Toolkit) -> None:
    """Close a toolkit that has something to close."""
    if isinstance(toolkit, Closable):
        await toolkit.close()


async def open_session(sources: Iterable[ToolSource]) -> ConversationTools:
    """Open one session of all these sources; the caller closes it.

    Raises:
        OssiaError: a toolkit cannot be offered here, with the reason.
        RequestError: two tools have one name, or a function has no JSON schema.
    """
    tools: list[Tool] = []
    sessions: list[ToolSession] = []
    toolkits: list[Toolkit] = []
    descriptions: dict[str, str] = {}
    try:
        for source in sources:
            if isinstance(source, LazyToolkit):
                toolkits.append(await source.start())
                descriptions |= described(toolkits[-1])
                sessions.append(await toolkits[-1].open())
            elif isinstance(source, Toolkit):
                descriptions |= described(source)
                sessions.append(await source.open())
            elif isinstance(source, Tool):
                tools.append(source)
            else:
                from ossia.tools.functions import as_tool  # pydantic, for functions alone

                tools.append(as_tool(source))
        return ConversationTools(tools, sessions, toolkits, descriptions)
    except BaseException:
        await ConversationTools((), sessions, toolkits).close()
        raise


def namespaces_of(
    specs: Iterable[ToolSpec], descriptions: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Namespace]:
    """Tools by namespace: `browser` and `python` as trained, `functions`, MCP servers by label.

    Args:
        specs: of every tool; names are unique.
        descriptions: of namespaces, by name; one without a tool here has none at the moment.
    """
    groups: dict[str, list[FunctionTool]] = {name: [] for name in descriptions}
    for spec in specs:
        name = spec.name.partition(".")[0]
        tools = groups.setdefault(name, [])
        if name not in BUILTINS:
            tools.append(spec.function)
    return {
        name: BUILTINS.get(name) or Namespace(name, descriptions.get(name, ""), tuple(tools))
        for name, tools in groups.items()
    }


def to_prompt(
    specs: Iterable[ToolSpec], descriptions: Mapping[str, str] = MappingProxyType({})
) -> PromptTools:
    """Sort tools by where the prompt declares them; arguments as for `namespaces_of`."""
    spaces = namespaces_of(specs, descriptions)
    functions = spaces.pop(FUNCTIONS, None)
    return PromptTools(
        builtins=tuple(name for name in get_args(Builtin) if spaces.pop(name, None)),
        functions=functions.tools if functions else (),
        namespaces=tuple(space for space in spaces.values() if space.tools),
    )
