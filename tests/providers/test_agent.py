import asyncio

import pytest

from ossia.chat.events import Finished, TextDelta, ToolFinished, collect
from ossia.chat.request import ApprovalDecision, RawRequest, ToolPolicy, TurnRequest
from ossia.errors import CONTEXT_OVERFLOW, RequestError, TurnFailed
from ossia.harmony.messages import Conversation, Message
from ossia.providers.agent import AgentClient
from ossia.providers.metrics import Metrics
from ossia.providers.tool_sessions import ToolSessions
from tests.chat.test_agent_loop import answered, called
from tests.providers.test_ipc import MODEL
from tests.providers.test_tool_sessions import lazy
from tests.tools.test_sessions import FakeToolkit

QUESTION = Message(role="user", content="see http://a.example")


class Stream:
    """A scripted generation."""

    def __init__(self, script):
        self._script = script
        self.prompt_tokens = 10
        self.closed = False

    async def __aiter__(self):
        for event in self._script:
            if self.closed:
                raise TurnFailed("the turn was cancelled")
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self):
        self.closed = True


class Engine:
    """Gives scripted generations, one a start; keeps what it was asked."""

    def __init__(self, *scripts):
        self.model = MODEL
        self.requests = []
        self.streams = []
        self._scripts = iter(scripts)

    async def start(self, request):
        self.requests.append(request)
        script = next(self._scripts)
        if isinstance(script, Exception):
            raise script
        self.streams.append(Stream(script))
        return self.streams[-1]


def run(test, engine, *toolkits):
    box = ToolSessions({f"toolkit{at}": lazy(toolkit) for at, toolkit in enumerate(toolkits)})
    metrics = Metrics()

    async def whole():
        await box.open()
        try:
            return await test(AgentClient(engine, box, on_tool_call=metrics.tool_called))
        finally:
            await box.close()

    return asyncio.run(whole()), metrics


def ask(*builtins, **options):
    conversation = Conversation(messages=(QUESTION,), builtins=builtins)
    return TurnRequest(conversation=conversation, **options)


async def read(stream):
    return [event async for event in stream]


def test_a_turn_without_tools_passes_as_it_is():
    engine = Engine(answered(), [])

    async def test(client):
        assert client.model is MODEL
        plain = await client.start(ask())
        raw = await client.start(RawRequest(prompt="Hi"))
        return plain, raw

    (plain, raw), _ = run(test, engine, FakeToolkit("python"))
    assert [plain, raw] == engine.streams


def test_a_call_leaves_a_line_without_its_words(caplog):
    caplog.set_level("INFO", "ossia.audit")

    async def test(client):
        await read(await client.start(ask("python", session="one")))

    run(test, Engine(called("secret"), answered()), FakeToolkit("python"))
    (line,) = [each.getMessage() for each in caplog.records if each.name == "ossia.audit"]
    assert line.startswith("c1 python ran ")
    assert "secret" not in line


def test_a_call_is_run_and_the_turn_goes_on():
    toolkit, engine = FakeToolkit("python"), Engine(called("1+1"), answered("2"))

    async def test(client):
        stream = await client.start(ask("python", session="one"))
        return stream.prompt_tokens, await read(stream)

    (prompt, events), metrics = run(test, engine, toolkit)
    reply = collect(events)
    assert (prompt, reply.text, [ran.name for ran in reply.tool_runs]) == (10, "2", ["python"])
    assert engine.requests[1].conversation.messages[-1].role == "tool"
    assert "heard see http://a.example" in toolkit.log
    assert 'ossia_tool_calls_total{outcome="ran",tool="python"} 1.0' in metrics.text().decode()


CALL = Message(role="assistant", channel="analysis", recipient="python", content="1+1")
DECIDED = ToolPolicy(decision=ApprovalDecision(call=CALL, call_id="c1", allows=True))


def test_a_call_that_waits_for_a_yes_ends_the_turn_and_is_counted():
    toolkit, engine = FakeToolkit("python"), Engine(called("rm"))
    rules = ToolPolicy(pause_for_approval=("python",))

    async def test(client):
        return collect(await read(await client.start(ask("python", tool_policy=rules))))

    reply, metrics = run(test, engine, toolkit)
    assert (reply.approval_request.arguments, reply.tool_runs) == ("rm", [])
    assert 'ossia_tool_calls_total{outcome="waits",tool="python"} 1.0' in metrics.text().decode()


def test_a_call_that_was_decided_on_runs_before_anything_is_written():
    engine = Engine([], answered("2"))

    async def test(client):
        stream = await client.start(ask("python", tool_policy=DECIDED))
        assert engine.streams[0].closed  # it was begun to be looked at and counted
        return stream.prompt_tokens, collect(await read(stream))

    (prompt, reply), _ = run(test, engine, FakeToolkit("python"))
    assert (prompt, reply.text, reply.tool_runs[0].result.text) == (10, "2", "1+1")
    assert engine.requests[1].conversation.messages[-2] == CALL


def test_a_call_that_was_decided_on_is_not_run_for_nobody():
    engine = Engine([])

    async def test(client):
        stream = await client.start(ask("python", tool_policy=DECIDED))
        stream.close()
        return await read(stream)

    assert run(test, engine, FakeToolkit("python"))[0] == []


def test_what_is_refused_is_refused_before_the_stream():
    async def test(client):
        with pytest.raises(RequestError, match="too long"):
            await client.start(ask("python"))

    run(test, Engine(RequestError("too long", code=CONTEXT_OVERFLOW)), FakeToolkit("python"))


def test_a_result_that_leaves_no_room_cuts_the_turn():
    engine = Engine(called("1"), RequestError("too long", code=CONTEXT_OVERFLOW))

    async def test(client):
        return await read(await client.start(ask("python")))

    events, _ = run(test, engine, FakeToolkit("python"))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"


def test_a_turn_closed_while_a_tool_runs_writes_no_more():
    engine = Engine(called("1"), answered())

    async def test(client):
        stream, seen = await client.start(ask("python")), []

        async def read_and_close():
            async for event in stream:
                seen.append(event)
                if isinstance(event, ToolFinished):
                    stream.close()

        with pytest.raises(TurnFailed):
            await read_and_close()
        return seen

    seen, _ = run(test, engine, FakeToolkit("python"))
    assert not any(isinstance(event, TextDelta) for event in seen)
    assert engine.streams[1].closed


def test_closing_stops_the_generation_that_runs():
    engine = Engine(answered())

    async def test(client):
        (await client.start(ask("python"))).close()

    run(test, engine, FakeToolkit("python"))
    assert engine.streams[0].closed
