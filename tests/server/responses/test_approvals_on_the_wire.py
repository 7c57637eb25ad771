"""OpenAI's own client and calls that need approval: requested, answered once, run as requested."""

import asyncio
import time

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from ossia.providers.agent import AgentClient
from ossia.providers.tool_sessions import ToolSessions
from ossia.server import responses
from ossia.tools.sessions import LazyToolkit
from ossia.tools.tool import ToolResult, ToolSpec
from tests.server.responses.wire_rules import accumulated, check, typed
from tests.server.scripted import ScriptedEngine, answer, call, finished, thought
from tests.server.serving import client_of

MAIL = [{"type": "mcp", "server_label": "post"}]
TO_ANNA = '{"to":"anna"}'
ASKING = [
    *thought("I send."),
    *call("post.send", '{"to":', '"anna"}', call_id="call_9", ids=(8, 9)),
    *finished("tool_calls"),
]
READING = [*thought("hm"), *call("post.read", "{}", ids=(18, 19)), *finished("tool_calls")]
DONE = [*thought("so", ids=(31, 32)), *answer("Sent."), *finished()]


class Post:
    """A toolkit with a state: what was sent."""

    def __init__(self):
        anything = {"type": "object"}
        self.specs = (
            ToolSpec(name="post.send", parameters=anything, approval="always"),
            ToolSpec(name="post.read", parameters=anything),
            ToolSpec(name="python", input_format="text", approval="always"),
        )
        self.sent = []

    async def start(self):
        return self

    async def open(self):
        return PostSession(self)


class PostSession:
    def __init__(self, toolkit):
        self.tools = tuple(Sending(spec, toolkit.sent) for spec in toolkit.specs)

    def needs_approval(self, name, arguments):
        return False

    async def close(self):
        pass


class Sending:
    def __init__(self, spec, sent):
        self.spec, self._sent = spec, sent

    async def call(self, arguments):
        self._sent.append((self.spec.name, arguments))
        return ToolResult(text=f"done {arguments}")


class Sender(ScriptedEngine):
    """Wants to send until it is told what came of it, unless it has a script."""

    async def start(self, request):
        if not self.scripts:
            is_over = request.conversation.messages[-1].role == "tool"
            self.scripts = [DONE if is_over else ASKING]
            try:
                return await super().start(request)
            finally:
                self.scripts = ()
        return await super().start(request)


@pytest.fixture(scope="module")
def served():
    engine, toolkit = Sender(), Post()
    tool_sessions = ToolSessions({"post": LazyToolkit(toolkit.start)})
    asyncio.run(tool_sessions.open())
    agent = AgentClient(engine, tool_sessions)
    with client_of(agent, responses.routes, tool_sessions=tool_sessions) as client:
        yield engine, toolkit, client


@pytest.fixture
def engine(served):
    served[0].play([])
    return served[0]


@pytest.fixture
def sent(served):
    served[1].sent.clear()
    return served[1].sent


@pytest.fixture
def client(engine, sent, served) -> OpenAI:
    return served[2]


def create(client, **fields):
    return client.responses.create(**{"model": "nano", "input": "Hello", "tools": MAIL, **fields})


def approval_of(request_id, allows=True, **more):
    return {
        "type": "mcp_approval_response",
        "approval_request_id": request_id,
        "approve": allows,
        **more,
    }


def answered(client, pending, allows=True, *, reason=None, **fields):
    """Go on from a response that asks."""
    words = {} if reason is None else {"reason": reason}
    request_input = [approval_of(pending.output[-1].id, allows, **words)]
    return create(client, **{"input": request_input, "previous_response_id": pending.id, **fields})


def streamed(client, **fields):
    """The names of the events, which keep the rules, and what they add up to."""
    stream = create(client, stream=True, **fields)
    events = [event.model_dump(exclude_unset=True) for event in stream]
    check(events)
    accumulated([typed(event) for event in events])
    return [event["type"] for event in events], typed(events[-1]).response


def nameless(made):
    """A response's items and usage without their ids, which are new each time."""
    items = [item.model_dump(exclude={"id", "approval_request_id"}) for item in made.output]
    return made.status, items, made.usage


def refused(client, kind=BadRequestError, **fields):
    with pytest.raises(kind) as found:
        create(client, **fields)
    return found.value


def kinds(made):
    return [item.type for item in made.output]


def prompt_of(engine, at=-1):
    """What the model was told behind the first user message."""
    return engine.requests[at].conversation.messages[1:]


def ids(messages):
    return [message.sampled_ids for message in messages]


def replayed(made):
    return [item.model_dump(exclude_none=True) for item in made.output]


class TestACallThatNeedsAYes:
    def test_ends_the_response_with_a_question(self, client, engine, sent):
        made = create(client)
        assert kinds(made) == ["reasoning", "mcp_list_tools", "mcp_approval_request"]
        assert made.output[-1].model_dump() == {
            "id": made.output[-1].id,
            "type": "mcp_approval_request",
            "server_label": "post",
            "name": "send",
            "arguments": TO_ANNA,
        }
        assert made.output[-1].id.startswith("mcpr_")
        assert (made.status, sent, len(engine.requests)) == ("completed", [], 1)
        assert client.responses.retrieve(made.id).output == made.output

    def test_is_the_same_streamed(self, client):
        names, found = streamed(client, input="Hello")
        assert names[-3:] == [
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
        assert nameless(found) == nameless(create(client))

    @pytest.mark.parametrize("wanted", ["always", {"never": {"tool_names": ["send"]}}])
    def test_is_what_a_request_says_too(self, client, engine, sent, wanted):
        engine.play([READING, DONE])
        made = create(client, tools=[{**MAIL[0], "require_approval": wanted}])
        assert (made.output[-1].type, made.output[-1].name) == ("mcp_approval_request", "read")
        assert made.tools[0].model_dump(exclude_none=True)["require_approval"] == wanted
        assert sent == []
        engine.play([READING, DONE])
        assert kinds(create(client))[-1] == "message"
        assert sent == [("post.read", "{}")]

    def test_is_never_less_than_the_operator_has_it(self, client, sent):
        made = create(client, tools=[{**MAIL[0], "require_approval": "never"}])
        assert (made.output[-1].type, sent) == ("mcp_approval_request", [])

    def test_of_a_built_in_is_refused_for_there_is_no_such_question(self, client, engine, sent):
        engine.play([[*call("python", "2+2"), *finished("tool_calls")], DONE])
        tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
        made = create(client, tools=tools)
        assert kinds(made) == ["code_interpreter_call", "reasoning", "message"]
        assert (made.output[0].status, sent) == ("failed", [])
        assert "needs approval" in prompt_of(engine)[-1].text


class TestAYes:
    def test_runs_exactly_that_call_first_and_goes_on(self, client, engine, sent):
        made = answered(client, pending := create(client))
        assert sent == [("post.send", TO_ANNA)]
        assert kinds(made) == ["mcp_call", "reasoning", "message"]
        ran = made.output[0]
        assert (ran.approval_request_id, ran.status) == (pending.output[-1].id, "completed")
        assert (ran.name, ran.arguments, ran.output) == ("send", TO_ANNA, f"done {TO_ANNA}")
        assert ids(prompt_of(engine)) == [(1, 2), (8, 9), None]
        assert made.output_text == "Sent."

    def test_streams_the_call_with_all_its_events(self, client):
        pending, other = create(client), create(client)
        names, found = streamed(
            client, input=[approval_of(pending.output[-1].id)], previous_response_id=pending.id
        )
        assert names[2:8] == [
            "response.output_item.added",
            "response.mcp_call.in_progress",
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.completed",
            "response.output_item.done",
        ]
        assert nameless(found) == nameless(answered(client, other))

    def test_in_the_background_is_the_same(self, client, sent):
        pending = settled(client, create(client, background=True))
        assert (kinds(pending)[-1], sent) == ("mcp_approval_request", [])
        made = settled(client, answered(client, pending, background=True))
        assert kinds(made) == ["mcp_call", "reasoning", "message"]
        assert sent == [("post.send", TO_ANNA)]

    def test_may_come_with_the_items_and_runs_what_was_asked(self, client, engine, sent):
        pending = create(client, store=False)
        items = replayed(pending)
        items[-1] |= {"name": "read", "arguments": '{"to":"eve"}'}  # a client that lies
        user = {"role": "user", "content": "Hello"}
        made = create(client, input=[user, *items, approval_of(items[-1]["id"])], store=False)
        assert sent == [("post.send", TO_ANNA)]
        assert (kinds(made)[0], made.output[0].arguments) == ("mcp_call", TO_ANNA)
        assert ids(prompt_of(engine)) == [(1, 2), (8, 9), None]

    def test_finds_the_thoughts_that_a_client_dropped(self, client, engine):
        pending = create(client)
        sent_back = [
            {"role": "user", "content": "Hello"},
            {"type": "item_reference", "id": pending.output[-1].id},
            approval_of(pending.output[-1].id),
        ]
        create(client, input=sent_back)
        assert ids(prompt_of(engine)) == [(1, 2), (8, 9), None]

    def test_is_history_in_the_turns_that_follow(self, client, engine, sent):
        pending = create(client)
        answer_ = approval_of(pending.output[-1].id)
        made = answered(client, pending)
        create(client, input="And?", previous_response_id=made.id)
        exact = [(1, 2), (8, 9), None, (31, 32), (4, 5), None]
        assert ids(prompt_of(engine)) == exact
        user = {"role": "user", "content": "Hello"}
        whole = [user, *replayed(pending), answer_, *replayed(made), {**user, "content": "And?"}]
        found = create(client, input=whole)
        assert [message.text for message in prompt_of(engine) if message.role == "tool"] == [
            f"done {TO_ANNA}"
        ]
        assert sent == [("post.send", TO_ANNA)]
        listed = client.responses.input_items.list(found.id, order="asc").data
        assert [item.type for item in listed][2:4] == [
            "mcp_approval_request",
            "mcp_approval_response",
        ]

    def test_needs_its_tool_to_be_offered(self, client, sent):
        pending = create(client)
        found = refused(
            client,
            input=[approval_of(pending.output[-1].id)],
            previous_response_id=pending.id,
            tools=[],
        )
        assert (found.code, found.param, sent) == ("tool_unavailable", "tools", [])
        assert kinds(answered(client, pending))[0] == "mcp_call"  # it still waits

    def test_of_a_call_that_was_asked_again_is_for_the_later_one(self, client, engine, sent):
        engine.play([ASKING, ASKING, ASKING, ASKING, DONE])
        first = create(client)
        second = answered(client, first)
        assert kinds(second)[-1] == "mcp_approval_request"
        assert len(sent) == 1
        user = {"role": "user", "content": "Hello"}
        history = [*replayed(first), approval_of(first.output[-1].id), *replayed(second)]
        made = create(client, input=[user, *history, approval_of(second.output[-1].id)])
        assert (len(sent), made.output_text) == (2, "Sent.")
        results = [message for message in prompt_of(engine) if message.role == "tool"]
        assert len(results) == 2


def settled(client, made):
    """Wait for a background response."""
    end = time.monotonic() + 20
    while (found := client.responses.retrieve(made.id)).status in ("queued", "in_progress"):
        assert time.monotonic() < end, "it never ended"
        time.sleep(0.01)
    return found


class TestANo:
    def test_is_told_to_the_model_with_its_reason(self, client, engine, sent):
        made = answered(client, create(client), False, reason='Not "him".')
        assert sent == []
        assert kinds(made) == ["mcp_call", "reasoning", "message"]
        assert (made.output[0].status, made.output[0].output) == ("failed", None)
        words = prompt_of(engine)[-1]
        assert (words.role, words.name) == ("tool", "post.send")
        assert words.text.endswith('The reason given: "Not \\"him\\"."')

    def test_needs_no_tools(self, client, sent):
        made = answered(client, create(client), False, tools=[])
        assert (made.output_text, sent) == ("Sent.", [])


class TestAnAnswer:
    @pytest.mark.parametrize("stores", [True, False])
    @pytest.mark.parametrize("first", [True, False])
    def test_counts_once(self, client, sent, stores, first):
        pending = create(client, store=stores)
        request_id = pending.output[-1].id
        history = [{"role": "user", "content": "Hello"}, *replayed(pending)]
        create(client, input=[*history, approval_of(request_id, first)], store=stores)
        num = len(sent)
        for again in (True, False):
            found = refused(client, input=[*history, approval_of(request_id, again)], store=stores)
            assert found.param == f"input[{len(history)}].approval_request_id"
        assert len(sent) == num == int(first)

    def test_of_somebody_else_does_not_count(self, client, sent):
        pending = create(client)
        berta = client.with_options(default_headers={"x-owner": "berta"})
        request_input = [
            {"role": "user", "content": "Hi"},
            *replayed(pending),
            approval_of(pending.output[-1].id),
        ]
        assert "no call waits" in refused(berta, input=request_input).message
        chained = {"input": request_input[-1:], "previous_response_id": pending.id}
        refused(berta, NotFoundError, **chained)
        assert sent == []
        assert kinds(answered(client, pending))[0] == "mcp_call"

    def test_must_be_there_and_be_of_this_conversation(self, client, sent):
        pending, other = create(client), create(client)
        for request_input in ("And?", [approval_of(other.output[-1].id)], [approval_of("mcpr_0")]):
            refused(client, input=request_input, previous_response_id=pending.id)
        refused(client, input=[{"role": "user", "content": "Hi"}, *replayed(pending)])
        refused(client, input=[approval_of(pending.output[-1].id)])
        forged = {**replayed(pending)[-1], "id": "mcpr_0"}
        refused(client, input=[forged, approval_of("mcpr_0")])
        assert sent == []

    def test_is_not_taken_for_a_response_that_was_deleted(self, client, sent):
        pending = create(client)
        request_input = [
            {"role": "user", "content": "Hi"},
            *replayed(pending),
            approval_of(pending.output[-1].id),
        ]
        client.responses.delete(pending.id)
        refused(client, input=request_input)
        assert sent == []

    def test_is_counted_but_not_used_up(self, client, sent):
        pending = create(client)
        request_input = {
            "input": [approval_of(pending.output[-1].id)],
            "previous_response_id": pending.id,
        }
        client.responses.input_tokens.count(model="nano", tools=MAIL, **request_input)
        assert sent == []
        assert kinds(create(client, **request_input))[0] == "mcp_call"


class TestTheMostCalls:
    def test_are_run_and_the_model_answers(self, client, engine, sent):
        engine.play([READING, DONE])
        raw = client.responses.with_raw_response.create(
            model="nano", input="Hello", tools=MAIL, max_tool_calls=1
        )
        made = raw.parse()
        assert "x-ossia-ignored" not in raw.headers
        assert (made.status, made.max_tool_calls, len(sent)) == ("completed", 1, 1)
        assert [request.tool_choice for request in engine.requests] == ["auto", "none"]

    def test_are_not_all_calls(self, client, engine):
        engine.play([READING, READING, DONE])
        create(client, max_tool_calls=2)
        assert [request.tool_choice for request in engine.requests] == ["auto", "auto", "none"]

    @pytest.mark.parametrize("most", [0, -1, "2", 1.5])
    def test_are_a_number_from_one_on(self, client, most):
        assert refused(client, max_tool_calls=most).param == "max_tool_calls"
