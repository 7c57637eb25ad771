"""Which MCP servers the operator offers, read from the usual `mcpServers` JSON and checked.

Knows the form of the settings; starts nothing. Secrets stand in them as names, `${NAME}`.
"""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, check_name
from ossia.tools.tool import Approval

MAX_SERVERS = 32
MAX_SECONDS = 600.0
_MAX_FILE_BYTES = 1 << 20
_RESERVED = frozenset(
    (FUNCTIONS, "browser", "python", "system", "developer", "user", "assistant", "tool")
)
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_STDIO = frozenset(("command", "args", "env", "cwd"))
_HTTP = frozenset(("url", "headers"))
_BOTH = frozenset(("type", "disabled", "allowedTools", "approval", "timeoutSeconds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """One server: a program to start, or an address to speak to."""

    name: str
    """Name of the server, and namespace of its tools."""
    command: tuple[str, ...] = ()
    """Program and arguments; no shell interprets them."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables the program gets besides PATH, HOME and the like; `${NAME}` is filled in."""
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to that address and to no other; `${NAME}` is filled in."""
    allowed_tools: frozenset[str] | None = None
    """The server's names of allowed tools; None: all."""
    approval: Mapping[str, Approval] = field(default_factory=dict)
    """Approval by tool; `*` stands for all others."""
    seconds: float = 60.0
    """Time limit of a call."""

    def approval_of(self, tool: str) -> Approval:
        """Whether calls of a tool need approval."""
        return self.approval.get(tool, self.approval.get("*", "ask"))


def filled(texts: Mapping[str, str], environ: Mapping[str, str], *, server: str) -> dict[str, str]:
    """Replace `${NAME}` in texts by environment variables.

    Raises:
        RequestError: a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise RequestError(f"MCP server {server} needs the variable {found[1]}; set it")
        return environ[found[1]]

    return {key: _VARIABLE.sub(value, text) for key, text in texts.items()}


def read_server_file(path: Path) -> tuple[McpServer, ...]:
    """Read the servers of a file.

    Raises:
        RequestError: it cannot be read, or says something wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            raise RequestError(f"{path} has more than {_MAX_FILE_BYTES} bytes; is it mcp.json?")
        settings = json.loads(raw)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not JSON: {error}") from None
    return read_servers(settings)


def read_servers(settings: object) -> tuple[McpServer, ...]:
    """Read the servers of settings such as {"mcpServers": {"name": {"command": ...}}}.

    Raises:
        RequestError: something is wrong; the message names the server and the field.
    """
    _check(isinstance(settings, Mapping), "MCP settings", settings, 'an object with "mcpServers"')
    assert isinstance(settings, Mapping)
    servers = settings.get("mcpServers")
    _check(isinstance(servers, Mapping), "mcpServers", servers, "an object of servers by name")
    assert isinstance(servers, Mapping)
    if len(servers) > MAX_SERVERS:
        raise RequestError(f"{len(servers)} MCP servers; at most {MAX_SERVERS} are taken")
    found = tuple(
        _server(name, each)
        for name, each in servers.items()
        if not (isinstance(each, Mapping) and each.get("disabled") is True)
    )
    names = [namespace(server.name) for server in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RequestError(f"two MCP servers are {min(twice)} to the model; rename one")
    return found


def namespace(name: str) -> str:
    """How a name is written in a prompt, where only letters, digits and `_` have a spelling."""
    spelt = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{spelt}"[:64] if spelt[:1].isdigit() else spelt[:64]


def _server(name: object, settings: object) -> McpServer:
    check_name(name, "the name of an MCP server")
    assert isinstance(name, str)
    if namespace(name) in _RESERVED:
        raise RequestError(f"an MCP server is called {name}, which means something else; rename it")
    where = f"MCP server {name}"
    _check(isinstance(settings, Mapping), where, settings, "an object")
    assert isinstance(settings, Mapping)
    if unknown := settings.keys() - _STDIO - _HTTP - _BOTH:
        raise RequestError(f"{where} has {min(unknown)!r:.60}, which is not a setting of it")
    if ("command" in settings) == ("url" in settings):
        raise RequestError(f"{where} needs a command or a url, one of them")
    if wrong := settings.keys() & (_HTTP if "command" in settings else _STDIO):
        raise RequestError(f"{where} has {min(wrong)} beside what it does not go with; remove it")
    _check_transport(settings, where)
    return McpServer(
        name=name,
        command=_command(settings, where),
        env=_texts(settings.get("env", {}), f"env of {where}"),
        cwd=_text(settings.get("cwd"), f"cwd of {where}"),
        url=_url(settings.get("url"), f"url of {where}"),
        headers=_texts(settings.get("headers", {}), f"headers of {where}"),
        allowed_tools=_allowed(settings.get("allowedTools"), f"allowedTools of {where}"),
        approval=_approval(settings.get("approval", "ask"), f"approval of {where}"),
        seconds=_seconds(settings.get("timeoutSeconds", 60.0), f"timeoutSeconds of {where}"),
    )


def _check(is_right: bool, where: str, found: object, expected: str) -> None:
    if not is_right:
        raise RequestError(f"{where}: found {found!r:.60}, expected {expected}")


def _check_transport(settings: Mapping[str, Any], where: str) -> None:
    """Check the optional transport, which must match the other settings."""
    kinds = ("stdio",) if "command" in settings else ("http", "streamable-http", "streamableHttp")
    kind = settings.get("type", kinds[0])
    _check(kind in kinds, f"type of {where}", kind, " or ".join(kinds))
    disabled = settings.get("disabled", False)
    _check(isinstance(disabled, bool), f"disabled of {where}", disabled, "true or false")


def _command(settings: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if "command" not in settings:
        return ()
    command, arguments = settings["command"], settings.get("args", [])
    _check(isinstance(command, str) and command != "", f"command of {where}", command, "a program")
    _check(_are_texts(arguments), f"args of {where}", arguments, "a list of texts")
    return (command, *arguments)


def _are_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_text, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _text(value: object, where: str) -> str | None:
    _check(value is None or _is_text(value), where, value, "a text")
    return value if isinstance(value, str) else None


def _texts(value: object, where: str) -> dict[str, str]:
    if isinstance(value, Mapping) and _are_texts([*value.keys(), *value.values()]):
        return dict(value)
    # What was found is not shown: it may be a secret.
    raise RequestError(f"{where}: found a value that is not text, expected texts by name")


def _allowed(value: object, where: str) -> frozenset[str] | None:
    if value is None:
        return None
    _check(_are_texts(value), where, value, "a list of names")
    assert isinstance(value, Sequence)
    return frozenset(value)


def _approval(value: object, where: str) -> dict[str, Approval]:
    policies = value if isinstance(value, Mapping) else {"*": value}
    for policy in policies.values():
        _check(policy in get_args(Approval), where, policy, "never, ask or always")
    return dict(policies)


def _seconds(value: object, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_right = is_number and 0 < value <= MAX_SECONDS  # type: ignore[operator]
    _check(is_right, where, value, f"seconds up to {MAX_SECONDS:g}")
    return float(value)  # type: ignore[arg-type]


def _url(value: object, where: str) -> str | None:
    """Check a URL: https, or http to this computer, and without a key, which logs would show."""
    if value is None:
        return None
    _check(isinstance(value, str), where, value, "an https address")
    assert isinstance(value, str)
    is_plain = value.isascii() and value.isprintable() and not re.search(r"[\s\\]", value)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        is_plain, host, port = False, "", None
    _check(is_plain and host != "" and port != 0, where, value, "an https address")
    if parts.username is not None or parts.password is not None:
        raise RequestError(f"{where} holds a user or a password; use headers")
    is_allowed = parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))
    _check(is_allowed, where, value, "https, or http to this computer")
    return value


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
