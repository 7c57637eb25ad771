"""openai-agents runs its tool loops on this API, and the model keeps its reasoning meanwhile."""

from collections.abc import Iterator
from typing import Any

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    function_tool,
)
from openai import AsyncOpenAI

from ossia.chat.request import TurnRequest
from ossia.server import chat_completions
from tests.server.scripted import ScriptedEngine, answer, call, finished, preamble, thought
from tests.server.sdk_agents import run_agent
from tests.server.serving import app_of, listening, services_with

LOOP = [
    [
        *thought("add?"),
        *preamble("Adding."),
        *call("add", '{"a":2,', '"b":3}'),
        *finished("tool_calls"),
    ],
    [*thought("so"), *answer("It is ", "5."), *finished()],
]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(LOOP)


@pytest.fixture
def address(engine: ScriptedEngine) -> Iterator[str]:
    with (
        services_with(engine) as services,
        listening(app_of(services, chat_completions.routes)) as address,
    ):
        yield address


def run(address: str, *, streamed: bool) -> Any:
    added: list[tuple[int, int]] = []

    @function_tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        added.append((a, b))
        return a + b

    def make_agent(client: AsyncOpenAI) -> Agent:
        return Agent(
            name="Ann",
            instructions="Add.",
            model=OpenAIChatCompletionsModel("nano", client),
            tools=[add],
            model_settings=ModelSettings(include_usage=True),
        )

    result = run_agent(address, make_agent, "2 + 3?", streamed=streamed)
    assert added == [(2, 3)]
    return result


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_loop_ends_with_the_answer(
    engine: ScriptedEngine, address: str, streamed: bool
) -> None:
    result = run(address, streamed=streamed)
    assert result.final_output == "It is 5."
    usage = result.context_wrapper.usage
    assert (usage.input_tokens, usage.output_tokens) == (22, 14)
    assert usage.output_tokens_details.reasoning_tokens == 6
    first, second = engine.requests
    assert isinstance(first, TurnRequest)
    assert isinstance(second, TurnRequest)
    assert [each.name for each in first.conversation.functions] == ["add"]
    assert first.conversation.instructions == "Add."
    spoken = second.conversation.messages
    assert [(each.role, each.channel, each.recipient, each.text) for each in spoken] == [
        ("user", None, None, "2 + 3?"),
        ("assistant", "analysis", None, "add?"),
        ("assistant", "commentary", None, "Adding."),
        ("assistant", "commentary", "functions.add", '{"a":2,"b":3}'),
        ("tool", "commentary", None, "5"),
    ]
    assert [each.sampled_ids for each in spoken[1:4]] == [(1, 2), (3,), (6, 7)]
