"""openai-agents before a call that needs approval: its own answer to our question runs the call."""

import asyncio

import pytest
from agents import Agent, HostedMCPTool, OpenAIResponsesModel

from ossia.providers.agent import AgentClient
from ossia.providers.tool_sessions import ToolSessions
from ossia.server import responses
from ossia.tools.sessions import LazyToolkit
from tests.server.responses.test_approvals_on_the_wire import MAIL, TO_ANNA, Post, Sender
from tests.server.sdk_agents import run_agent
from tests.server.serving import app_of, listening, services_with


@pytest.fixture
def toolkit():
    return Post()


@pytest.fixture
def address(toolkit):
    tool_sessions = ToolSessions({"post": LazyToolkit(toolkit.start)})
    asyncio.run(tool_sessions.open())
    agent = AgentClient(Sender(), tool_sessions)
    with (
        services_with(agent, tool_sessions) as services,
        listening(app_of(services, responses.routes)) as address,
    ):
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("allows", [True, False])
def test_its_answer_is_understood(toolkit, address, streamed, allows):
    requests = []

    def decide(request):
        requests.append((request.data.name, request.data.arguments))
        return {"approve": True} if allows else {"approve": False, "reason": "Not him."}

    def make_agent(client):
        return Agent(
            name="Ann",
            model=OpenAIResponsesModel("nano", client),
            tools=[HostedMCPTool(tool_config=MAIL[0], on_approval_request=decide)],
        )

    result = run_agent(address, make_agent, "Write to Anna.", streamed=streamed)
    assert result.final_output == "Sent."
    assert requests == [("send", TO_ANNA)]
    assert toolkit.sent == ([("post.send", TO_ANNA)] if allows else [])
