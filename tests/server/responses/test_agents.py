"""openai-agents, and Codex as it sends, in a tool loop: the model's reasoning survives them."""

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    function_tool,
)
from openai import OpenAI
from openai.types.shared import Reasoning

from ossia.server import responses
from tests.server.scripted import ScriptedEngine, answer, call, finished, preamble, thought
from tests.server.sdk_agents import run_agent
from tests.server.serving import app_of, client_of, listening, services_with

LOOP = [
    [
        *thought("add?"),
        *preamble("Adding."),
        *call("add", '{"a":2,', '"b":3}'),
        *finished("tool_calls"),
    ],
    [*thought("so"), *answer("It is ", "5."), *finished()],
]
EXACT = [None, (1, 2), (3,), (6, 7), None]


@pytest.fixture
def engine():
    return ScriptedEngine(LOOP)


@pytest.fixture
def address(engine):
    with (
        services_with(engine) as services,
        listening(app_of(services, responses.routes)) as address,
    ):
        yield address


def run(address, *, streamed, settings, **more):
    added = []

    @function_tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        added.append((a, b))
        return a + b

    def make_agent(client):
        return Agent(
            name="Ann",
            instructions="Add.",
            model=OpenAIResponsesModel("nano", client),
            tools=[add],
            model_settings=settings,
        )

    result = run_agent(address, make_agent, "2 + 3?", streamed=streamed, **more)
    assert added == [(2, 3)]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(),
        ModelSettings(store=False, response_include=["reasoning.encrypted_content"]),
        ModelSettings(reasoning=Reasoning(effort="high", summary="auto"), top_logprobs=2),
    ],
)
def test_a_tool_loop_ends_with_the_answer(engine, address, streamed, settings):
    result = run(address, streamed=streamed, settings=settings)
    assert result.final_output == "It is 5."
    usage = result.context_wrapper.usage
    assert (usage.input_tokens, usage.output_tokens) == (22, 14)
    first, second = engine.requests
    assert [each.name for each in first.conversation.functions] == ["add"]
    assert first.conversation.instructions == second.conversation.instructions == "Add."
    assert [each.sampled_ids for each in second.conversation.messages] == EXACT


def test_a_tool_loop_by_previous_responses_is_exact_too(engine, address):
    result = run(address, streamed=False, settings=ModelSettings(), auto_previous_response_id=True)
    assert result.final_output == "It is 5."
    assert [each.sampled_ids for each in engine.requests[1].conversation.messages] == EXACT


def as_codex_sends_it(item):
    """Items without ids, without raw reasoning, with what was sealed."""
    fields = item.model_dump(exclude_none=True, exclude={"id", "status"})
    if item.type == "reasoning":
        del fields["content"]
    return fields


def test_codex_gives_back_what_was_sealed(engine):
    settings = {
        "model": "nano",
        "instructions": "You are Codex.",
        "store": False,
        "tool_choice": "auto",
        "include": ["reasoning.encrypted_content"],
        "tools": [
            {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False},
            {
                "type": "custom",
                "name": "apply_patch",
                "description": "Patches files.",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
            },
            {"type": "namespace", "name": "mcp__files__", "description": "Files.", "tools": []},
            {"type": "web_search"},
            {"type": "image_generation"},
        ],
    }
    instruction = {"type": "message", "role": "developer", "content": "You may write."}
    question = {"type": "message", "role": "user", "content": "2 + 3?"}
    with client_of(engine, responses.routes) as client:
        made = last_of(client, input=[instruction, question], **settings)
        replayed = [as_codex_sends_it(item) for item in made.output]
        assert "content" not in replayed[0]
        result = {"type": "function_call_output", "call_id": "call_1", "output": "5"}
        done = last_of(client, input=[instruction, question, *replayed, result], **settings)
    assert done.output_text == "It is 5."
    conversation = engine.requests[1].conversation
    assert [each.sampled_ids for each in conversation.messages] == EXACT
    assert conversation.instructions == "You are Codex.\n\nYou may write."
    assert [each.name for each in conversation.functions] == ["add", "apply_patch"]
    assert conversation.functions[1].grammar == ("lark", "start: /.+/")


def last_of(client: OpenAI, **fields):
    *_, last = client.responses.create(stream=True, **fields)
    assert last.type == "response.completed"
    return last.response
