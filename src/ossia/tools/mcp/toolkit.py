"""The tools of configured MCP servers as a toolkit; each is called `server.tool`.

Decides which tools are offered and when a call needs approval; connections and texts are elsewhere.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ossia.errors import MissingExtra, RequestError, StoreError
from ossia.tools.mcp.listing import ListedTool, TrustStore, list_tools, namespace_text
from ossia.tools.mcp.settings import McpServer, namespace
from ossia.tools.tool import Tool, ToolResult, ToolSpec

try:
    from ossia.tools.mcp.connection import (
        McpConnection,
        ServerRefused,
        ServerUnreachable,
        quiet_library,
    )
    from ossia.tools.mcp.listing import as_result, failure
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
        raise
    raise MissingExtra("MCP", "mcp", "mcp") from None

_CHANGED = "changed this tool since it was last allowed; call it again, and the user will be asked"


@dataclass(slots=True)
class _Host:
    """One server, its tools, and which of them changed since they were approved."""

    connection: McpConnection
    tools: tuple[ListedTool, ...] = ()
    changed: dict[str, str] = field(default_factory=dict)
    """Fingerprints of changed tools that need approval again; empty if removed."""


class McpToolkit:
    """Tools of MCP servers, opened by `start`."""

    def __init__(
        self, hosts: Sequence[_Host], trusted: TrustStore, problems: Mapping[str, str]
    ) -> None:
        """Private; use `start`."""
        self._hosts = tuple(hosts)
        self._trusted = trusted
        self.problems = dict(problems)
        """Why a server or some of its tools are not offered, by server."""
        self.specs: tuple[ToolSpec, ...] = tuple(each.spec for host in hosts for each in host.tools)
        self.descriptions: dict[str, str] = {
            namespace(host.connection.server.name): namespace_text(
                host.connection.server, host.connection.instructions
            )
            for host in hosts
            if host.tools
        }
        """Descriptions by namespace, for the prompt."""

    @classmethod
    async def start(
        cls,
        servers: Iterable[McpServer],
        *,
        environ: Mapping[str, str],
        trusted: TrustStore | None = None,
    ) -> "McpToolkit":
        """Connect to servers and list their tools.

        Args:
            servers: from the operator's settings, and from nowhere else.
            environ: where `${NAME}` in the settings is looked up.
            trusted: what tools were when they were last allowed.

        Raises:
            RequestError: a variable is not set, or no server can be used.
            StoreError: what is known cannot be written.
        """
        quiet_library()
        trusted = trusted or TrustStore()
        hosts = [_Host(McpConnection(server, environ)) for server in servers]
        problems: dict[str, str] = {}
        toolkit = None
        try:
            lines = await asyncio.gather(*(_listed(host, trusted) for host in hosts))
            for host, line in zip(hosts, lines, strict=True):
                problems |= {host.connection.server.name: line} if line else {}
            if problems and not any(host.tools for host in hosts):
                raise RequestError("; ".join(problems.values()))
            toolkit = cls(hosts, trusted, problems)
            return toolkit
        finally:
            if toolkit is None:
                await asyncio.gather(*(host.connection.close() for host in hosts))

    async def open(self) -> "McpSession":
        """Open a session; all sessions share the servers' connections."""
        return McpSession(self._hosts, self._trusted)

    async def close(self) -> None:
        """Close every connection and end every started server."""
        await asyncio.gather(*(host.connection.close() for host in self._hosts))


class McpSession:
    """The tools of all servers for one conversation."""

    def __init__(self, hosts: Sequence[_Host], trusted: TrustStore) -> None:
        """Offer the servers' tools to one conversation."""
        self._pending: set[tuple[str, str]] = set()
        self._tools = {
            each.spec.name: _McpTool(each.spec, each, host, trusted, self._pending)
            for host in hosts
            for each in host.tools
        }

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools of all servers."""
        return tuple(self._tools.values())

    def needs_approval(self, name: str, arguments: str) -> bool:
        """Whether a tool changed since it was last approved."""
        tool = self._tools.get(name)
        if tool is None or not tool.is_changed:
            return False
        self._pending.add((name, arguments))
        return True

    async def close(self) -> None:
        """Do nothing: the toolkit owns the connections."""
        self._pending.clear()


@dataclass(frozen=True, slots=True)
class _McpTool:
    spec: ToolSpec
    _listed_tool: ListedTool
    _host: _Host
    _trusted: TrustStore
    _pending: set[tuple[str, str]]

    @property
    def is_changed(self) -> bool:
        """Whether its calls need approval."""
        return self.spec.name in self._host.changed

    async def call(self, arguments: str) -> ToolResult:
        """Call the server."""
        parsed = _parsed(arguments)
        if isinstance(parsed, ToolResult):
            return parsed
        server, tool = self._host.connection.server.name, self._listed_tool.listed.name
        try:
            await self._host.connection.ready()
            if self._host.connection.is_stale:
                await _compare(self._host, self._trusted)
            if self.is_changed and not self._allowed(arguments):
                return failure(f"MCP server {server} {_CHANGED}")
            answer = await self._host.connection.call(tool, parsed)
        except (ServerUnreachable, ServerRefused, StoreError) as error:
            return replace(failure(str(error)), origin=server)
        return replace(
            as_result(answer, server=server), details={"server_label": server, "name": tool}
        )

    def _allowed(self, arguments: str) -> bool:
        """Whether exactly this call was approved: then the tool's fingerprint is updated."""
        if (self.spec.name, arguments) not in self._pending:
            return False
        self._pending.discard((self.spec.name, arguments))
        self._trusted.learn({self.spec.name: self._host.changed.pop(self.spec.name)})
        return True


async def _listed(host: _Host, trusted: TrustStore) -> str:
    """List a server's tools for the first time; returns an error in one line."""
    try:
        listed = await host.connection.listed()
    except ServerUnreachable as error:
        return f"{error} ({error.words})" if error.words else str(error)
    except ServerRefused as error:
        return str(error)
    host.tools, problems = list_tools(host.connection.server, listed)
    for each in host.tools:
        if trusted.is_changed(each.spec.name, each.listed.fingerprint):
            host.changed[each.spec.name] = each.listed.fingerprint
    fresh = {each.spec.name: each.listed.fingerprint for each in host.tools}
    trusted.learn({name: mark for name, mark in fresh.items() if name not in host.changed})
    return "; ".join(problems)


async def _compare(host: _Host, trusted: TrustStore) -> None:
    """Record which tools changed."""
    now = {tool.name: tool.fingerprint for tool in await host.connection.listed()}
    for each in host.tools:
        fingerprint = now.get(each.listed.name)
        if fingerprint and trusted.is_changed(each.spec.name, fingerprint):
            host.changed[each.spec.name] = fingerprint
        else:
            host.changed.pop(each.spec.name, None)


def _parsed(arguments: str) -> dict[str, Any] | ToolResult:
    try:
        found = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError) as error:
        return failure(f"the arguments are not JSON: {error}")
    if not isinstance(found, dict):
        return failure("the arguments are not a JSON object")
    return found
