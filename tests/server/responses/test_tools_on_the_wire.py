"""OpenAI's own client and the calls that run here: through the routes, and back again."""

from dataclasses import replace

import pytest
from openai import BadRequestError, OpenAI, PermissionDeniedError

from ossia.server import responses
from ossia.server.http.guard import LOCAL
from ossia.server.responses.items import LOST
from tests.server.scripted import ScriptedEngine, answer, call, finished, offering, ran, thought
from tests.server.serving import client_of

LOGS = [{"type": "logs", "logs": "4"}]
WORKING = [
    *thought("I look."),
    *ran("browser.search", '{"query":"owls","topn":2}', text="Owls.", type="search", query="owls"),
    *thought("I compute.", ids=(21, 22)),
    *ran("python", "2+2", text="4", container_id="cntr_7", outputs=LOGS),
    *ran("post.send", "{}", text="Sent."),
]
DONE = [*WORKING, *answer("It is 4."), *finished()]
CALLING = [*WORKING, *call("f", "{}", call_id="call_1"), *finished("tool_calls")]
IDS = [(1, 2), (8, 9), None, (21, 22), (8, 9), None, (8, 9), None]
TEXTS = ["Owls.", "4", "Sent."]
OURS = [
    {"type": "web_search"},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "mcp", "server_label": "post", "require_approval": "never"},
]
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
NAMES = ("browser.search", "browser.open", "browser.find", "python", "post.send")


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with client_of(engine, responses.routes, tool_sessions=offering(*NAMES)) as client:
        yield engine, client


@pytest.fixture
def engine(served):
    served[0].play([DONE])
    return served[0]


@pytest.fixture
def client(engine, served) -> OpenAI:
    return served[1]


def create(client, **fields):
    return client.responses.create(**{"model": "nano", "input": "Hello", "tools": OURS, **fields})


def prompt_of(engine, at=-1):
    """What the model was told behind the first user message."""
    return engine.requests[at].conversation.messages[1:]


def ids(messages):
    return [message.sampled_ids for message in messages]


def results(messages):
    return [message.text for message in messages if message.role == "tool"]


class TestTools:
    def test_reaches_the_model_and_is_said_back(self, client, engine):
        made = create(client, tools=[*OURS, FUNCTION])
        conversation = engine.requests[0].conversation
        assert conversation.builtins == ("browser", "python")
        assert [space.name for space in conversation.namespaces] == ["post"]
        kinds = [tool.type for tool in made.tools]
        assert kinds == ["web_search", "code_interpreter", "mcp", "function"]
        assert engine.requests[0].rules.recipients["post.send"] == "json"

    def test_may_be_forced(self, client, engine):
        made = create(client, tool_choice={"type": "web_search_preview"})
        assert engine.requests[0].tool_choice == "required"
        assert set(engine.requests[0].allowed_tools) == set(NAMES[:3])
        assert made.tool_choice.type == "web_search_preview"
        create(client, tool_choice={"type": "code_interpreter"})
        assert engine.requests[1].rules.choice == "python"
        create(client, tool_choice={"type": "mcp", "server_label": "post", "name": "send"})
        assert engine.requests[2].rules.choice == "post.send"

    def test_is_named_in_the_header_where_it_is_not_there(self, client):
        tools = [{"type": "image_generation"}, {"type": "mcp", "server_label": "other"}]
        raw = client.responses.with_raw_response.create(model="nano", input="Hello", tools=tools)
        assert raw.headers["x-ossia-ignored"] == "tools[0], tools[1]"
        assert raw.parse().tools == []

    def test_cannot_be_forced_where_it_is_not_there(self, client):
        with pytest.raises(BadRequestError) as found:
            create(client, tools=[FUNCTION], tool_choice={"type": "code_interpreter"})
        assert found.value.code == "tool_unavailable"


def test_a_caller_without_the_scope_may_not_have_tools_run(monkeypatch):
    caller = "tests.server.serving.LOCAL"
    monkeypatch.setattr(caller, replace(LOCAL, scopes=frozenset(["infer"])))
    with client_of(
        ScriptedEngine([DONE]), responses.routes, tool_sessions=offering("python")
    ) as client:
        with pytest.raises(PermissionDeniedError) as found:
            create(client)
        assert found.value.code == "missing_scope"
        assert create(client, tools=[FUNCTION]).status == "completed"


class TestAnAnswer:
    def test_has_an_item_for_every_call_and_counts_the_whole_turn(self, client):
        made = create(client, include=["code_interpreter_call.outputs"])
        kinds = [item.type for item in made.output]
        assert kinds == [
            *("reasoning", "web_search_call", "reasoning", "code_interpreter_call"),
            *("mcp_list_tools", "mcp_call", "message"),
        ]
        assert made.output[3].outputs[0].logs == "4"
        assert made.output[5].output == "Sent."
        assert (made.usage.input_tokens, made.usage.output_tokens) == (11, 7)

    def test_is_the_same_streamed(self, client):
        with client.responses.stream(model="nano", input="Hello", tools=OURS) as stream:
            found = stream.get_final_response()
        assert [item.type for item in found.output][-1] == "message"
        assert found.output_text == "It is 4."


class TestGoingOn:
    @pytest.mark.parametrize("stores", [True, False])
    def test_from_a_call_with_replayed_items_is_exact(self, client, engine, stores):
        engine.play([CALLING, DONE])
        first = create(client, tools=[*OURS, FUNCTION], store=stores)
        items = [item.model_dump(exclude_none=True) for item in first.output]
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        sent = [{"role": "user", "content": "Hello"}, *items, output]
        create(client, input=sent, store=stores)
        assert ids(prompt_of(engine)) == [*IDS, (6, 7), None]
        assert results(prompt_of(engine)) == [*TEXTS, "sunny"]

    def test_from_a_response_is_exact(self, client, engine):
        engine.play([CALLING, DONE, DONE])
        first = create(client, tools=[*OURS, FUNCTION])
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        second = create(client, input=[output], previous_response_id=first.id)
        assert ids(prompt_of(engine)) == [*IDS, (6, 7), None]
        create(client, input="And?", previous_response_id=second.id)
        assert ids(prompt_of(engine)) == [*IDS, (6, 7), None, *IDS, (4, 5), None]
        assert results(prompt_of(engine)) == [*TEXTS, "sunny", *TEXTS]

    def test_with_the_output_of_a_call_alone_is_exact(self, client, engine):
        engine.play([CALLING, DONE])
        create(client, tools=[*OURS, FUNCTION])
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        create(client, input=[{"role": "user", "content": "Hello"}, output])
        assert ids(prompt_of(engine)) == [*IDS, (6, 7), None]

    def test_by_reference_is_exact(self, client, engine):
        engine.play([DONE, DONE])
        first = create(client)
        named = [{"type": "item_reference", "id": item.id} for item in first.output[:4]]
        create(client, input=[{"role": "user", "content": "Hello"}, *named])
        assert ids(prompt_of(engine)) == IDS[:6]

    def test_with_items_that_nobody_remembers_renders_what_they_hold(self, client, engine):
        items = [
            {"type": "web_search_call", "action": {"type": "search", "query": "owls"}},
            {"type": "code_interpreter_call", "code": "2+2", "outputs": LOGS},
            {"type": "mcp_list_tools", "server_label": "post", "tools": []},
            {
                "type": "mcp_call",
                "server_label": "post",
                "name": "send",
                "arguments": "{}",
                "output": "Sent.",
            },
        ]
        made = create(client, input=[{"role": "user", "content": "Hello"}, *items])
        assert results(prompt_of(engine)) == [LOST, "4", "Sent."]
        assert [message.text for message in prompt_of(engine)[::2]] == [
            '{"query": "owls"}',
            "2+2",
            "{}",
        ]
        listed = client.responses.input_items.list(made.id, order="asc").data
        assert [item.type for item in listed][1:] == [
            "web_search_call",
            "code_interpreter_call",
            "mcp_call",
        ]

    def test_from_a_turn_that_died_in_a_call_leaves_the_call_out(self, client, engine):
        died = [*thought("hm"), *call("python", "2+2"), RuntimeError("oh")]
        engine.play([died, DONE])
        with client.responses.stream(model="nano", input="Hello", tools=OURS) as stream:
            *_, last = stream
        assert last.response.output[-1].status == "incomplete"
        create(client, previous_response_id=last.response.id)
        assert ids(prompt_of(engine)) == [(1, 2), None]
