"""The whole server with its model, a real MCP server beside it, and OpenAI's own client."""

import json
import sys
from pathlib import Path

import pytest
from openai import AsyncOpenAI, BadRequestError

from ossia.tools.mcp.settings import read_servers
from ossia.tools.mcp.toolkit import McpToolkit
from ossia.tools.sessions import LazyToolkit
from tests.server.test_server import ready, run

SERVER = Path(__file__).parents[2] / "tools" / "mcp" / "raw_server.py"
STARTED = {"command": sys.executable, "args": ["-I", str(SERVER)]}
REQUEST = {
    "model": "nano",
    "temperature": 0,
    "max_output_tokens": 600,
    "tools": [{"type": "mcp", "server_label": "raw", "allowed_tools": ["echo"]}],
}


def echoing():
    """The toolkit of a server whose calls need approval by default."""

    async def start():
        return await McpToolkit.start(read_servers({"mcpServers": {"raw": STARTED}}), environ={})

    return {"mcp": LazyToolkit(start)}


def opened(client):
    return AsyncOpenAI(
        api_key="none",
        base_url=f"{client.base_url}/v1",
        max_retries=0,
        _strict_response_validation=True,
    )


@pytest.mark.slow
def test_what_one_server_asks_the_next_one_runs_once(tmp_path):
    async def ask(client, server, drain):
        await ready(client)
        choice = {"type": "mcp", "server_label": "raw", "name": "echo"}
        async with opened(client) as openai:
            return await openai.responses.create(
                input="Please echo the text Rome.", tool_choice=choice, **REQUEST
            )

    async def allow(client, server, drain):
        await ready(client)
        answer = {
            "type": "mcp_approval_response",
            "approval_request_id": request.id,
            "approve": True,
        }
        decision = {"input": [answer], "previous_response_id": pending.id, "tool_choice": "none"}
        async with opened(client) as openai:
            made = await openai.responses.create(**decision, **REQUEST)
            with pytest.raises(BadRequestError, match="no call waits"):
                await openai.responses.create(**decision, **REQUEST)
            return made

    where = {"store": tmp_path / "r.db", "state_folder": tmp_path, "toolkits": echoing()}
    pending = run(ask, **where)[0]
    request = pending.output[-1]
    assert (request.type, request.server_label, request.name) == (
        "mcp_approval_request",
        "raw",
        "echo",
    )
    made = run(allow, **where)[0]
    ran = made.output[0]
    assert (ran.type, ran.status, ran.approval_request_id) == ("mcp_call", "completed", request.id)
    assert ran.arguments == request.arguments
    text = json.loads(request.arguments).get("text", "")
    assert ran.output.strip().endswith(f"said {text}".strip())
    assert made.output[-1].type == "message"
