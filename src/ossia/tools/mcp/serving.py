"""Our tools for other programs: an MCP server over standard input and output, or for HTTP.

Translates tools and results to MCP.
"""

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from ossia import __version__
from ossia.errors import MissingExtra, OssiaError, RequestError
from ossia.tools.mcp.sessions import NEW, SessionHandles
from ossia.tools.session_pool import SessionLease
from ossia.tools.tool import MAX_RESULT_BYTES, Attachment, Toolkit, ToolResult, ToolSpec, adds_up

try:
    import mcp_types
    from mcp import MCPError
    from mcp.server import Server
    from mcp.server.stdio import stdio_server
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
        raise
    raise MissingExtra("ossia mcp", "mcp", "mcp") from None

SESSION = "session"
_DESCRIPTIONS = {
    "python": "Run Python in a session like a notebook's: variables stay, the value of a last "
    "expression is shown, new files under /mnt/data come back. No network; time, memory and "
    "processes are limited."
}
"""Descriptions for other models, where the trained ones mention gpt-oss's channels."""
_SPARE_SECONDS = 5.0
"""Seconds beyond a tool's own limit after which a call is abandoned."""
_SESSION_SCHEMA = {
    "type": "string",
    "description": f"Leave it out to go on where you were; {NEW!r} for a fresh state of its own, "
    "whose handle the result begins with; or such a handle.",
}
_HANDLE_SCHEMA = {
    "type": "string",
    "description": "The handle that an earlier result began with, to go on where that ended; "
    "leave it out to begin afresh.",
}
Observe = Callable[[ToolSpec, str, ToolResult, float], None]
"""Called after each call with tool, arguments, result and seconds."""
_NOBODY = "error: this call needs approval, and over MCP nobody can give it; call another tool"
_NO_SESSION = f"error: there is no such session any more; say {NEW!r} for another one"


async def serve_stdio(toolkits: Sequence[Toolkit]) -> None:
    """Serve the client that started this program, until it closes our standard input.

    Args:
        toolkits: what to offer; still open afterwards.

    Raises:
        RequestError: two tools have one name for the client.
    """
    handles = SessionHandles(toolkits)
    server = tool_server(toolkits, lambda context: handles)
    try:
        async with stdio_server() as (inbox, outbox):
            await server.run(inbox, outbox, server.create_initialization_options())
    finally:
        await handles.close()


def tool_server(
    toolkits: Sequence[Toolkit],
    handles_of: Callable[[Any], SessionHandles],
    *,
    has_own: bool = True,
    observe: Observe = lambda spec, arguments, result, seconds: None,
) -> Server[Any]:
    """Build an MCP server of tools, for any transport.

    Args:
        toolkits: what to offer.
        handles_of: the sessions of the client who asks, by the context of his request.
        has_own: whether a client has a session of his own, so that it needs no handle.
        observe: called after each call.

    Raises:
        RequestError: two tools have one name for the client.
    """
    specs: dict[str, ToolSpec] = {}
    for spec in (spec for toolkit in toolkits for spec in toolkit.specs):
        if (name := wire_name(spec.name)) in specs:
            raise RequestError(f"two tools are called {name} over MCP; offer one of them")
        specs[name] = spec
    session = _SESSION_SCHEMA if has_own else _HANDLE_SCHEMA
    listing = mcp_types.ListToolsResult(
        tools=[_to_mcp_tool(name, spec, session) for name, spec in specs.items()]
    )

    async def list_tools(context: Any, params: Any) -> mcp_types.ListToolsResult:
        return listing

    async def call_tool(
        context: Any, params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        if (spec := specs.get(params.name)) is None:
            raise MCPError(mcp_types.INVALID_PARAMS, f"there is no tool {params.name!r:.80}")
        return await _answer(handles_of(context), spec, dict(params.arguments or {}), observe)

    return Server(
        "ossia",
        version=__version__,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def wire_name(name: str) -> str:
    """A tool's name without dots, which many clients refuse."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name.removeprefix("functions."))[:64]


def _to_mcp_tool(name: str, spec: ToolSpec, session: dict[str, str]) -> mcp_types.Tool:
    if spec.input_format == "text":
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {_text_field(spec): {"type": "string"}},
            "required": [_text_field(spec)],
        }
    else:
        schema = dict(spec.parameters or {"type": "object"})
    schema["properties"] = {**schema.get("properties", {}), SESSION: session}
    return mcp_types.Tool(
        name=name,
        description=_DESCRIPTIONS.get(spec.name, spec.description),
        input_schema=schema,
        annotations=mcp_types.ToolAnnotations(
            read_only_hint="external_effect" not in spec.labels,
            open_world_hint="reads_untrusted" in spec.labels,
        ),
    )


def _text_field(spec: ToolSpec) -> str:
    return "code" if spec.name == "python" else "input"


async def _answer(
    handles: SessionHandles, spec: ToolSpec, arguments: dict[str, Any], observe: Observe
) -> mcp_types.CallToolResult:
    """Run a call in the session it names."""
    handle = arguments.pop(SESSION, None)
    if not isinstance(handle, str | None):
        return _failed(f"error: {SESSION} is not text")
    if spec.input_format == "json":
        text: object = json.dumps(arguments)
    else:
        text = arguments.get(_text_field(spec))
    if not isinstance(text, str):
        return _failed(f"error: {_text_field(spec)} is missing, or no text")
    try:
        async with handles.lease(handle or "") as lease:
            if lease is None:
                return _failed(_NO_SESSION)
            began = time.monotonic()
            result = await _call(lease, spec, text)
    except OssiaError as error:
        return _failed(f"error: {error}")
    observe(spec, text, result, time.monotonic() - began)
    return _as_answer(result, lease.key if lease.key != handle else "")


async def _call(lease: SessionLease, spec: ToolSpec, text: str) -> ToolResult:
    tools = {tool.spec.name: tool for tool in lease.session.tools}
    if (
        spec.approval == "always"
        or lease.session.needs_approval(spec.name, text)
        or adds_up(lease.labels, spec.labels)
    ):
        return ToolResult(text=_NOBODY, is_error=True)
    lease.labels |= spec.labels
    try:
        async with asyncio.timeout(spec.seconds + _SPARE_SECONDS):
            return await tools[spec.name].call(text)
    except TimeoutError:
        return ToolResult(text=f"error: it took longer than {spec.seconds:g} s", is_error=True)


def _failed(text: str) -> mcp_types.CallToolResult:
    return _as_answer(ToolResult(text=text, is_error=True), "")


def _as_answer(result: ToolResult, handle: str) -> mcp_types.CallToolResult:
    text = _capped(result.text)
    if handle:
        text = f"{SESSION}: {handle}\n{text}"
    content: list[mcp_types.ContentBlock] = [mcp_types.TextContent(text=text)]
    content += [_file(number, file) for number, file in enumerate(result.attachments, start=1)]
    return mcp_types.CallToolResult(content=content, is_error=result.is_error)


def _file(number: int, file: Attachment) -> mcp_types.ContentBlock:
    encoded = base64.b64encode(file.content).decode()
    if file.media_type.startswith("image/"):
        return mcp_types.ImageContent(data=encoded, mime_type=file.media_type)
    resource = mcp_types.BlobResourceContents(
        uri=f"attachment:///{number}/{re.sub(r'[^A-Za-z0-9._-]', '_', file.name)}",
        mime_type=file.media_type,
        blob=encoded,
    )
    return mcp_types.EmbeddedResource(resource=resource)


def _capped(text: str) -> str:
    """Truncate a long result in the middle, and say so."""
    raw = text.encode(errors="replace")
    if len(raw) <= MAX_RESULT_BYTES:
        return raw.decode()
    head, tail = MAX_RESULT_BYTES * 3 // 4, MAX_RESULT_BYTES // 4
    left_out = f"\n[{len(raw) - head - tail} bytes left out]\n"
    return raw[:head].decode(errors="ignore") + left_out + raw[-tail:].decode(errors="ignore")
