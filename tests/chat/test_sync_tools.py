import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from ossia import LLM, RequestError, SamplingParams
from ossia.chat.events import Finished, ToolFinished
from ossia.chat.sync_tools import Tools, _LoopThread
from ossia.harmony.messages import FunctionTool
from ossia.tools.tool import ToolResult, ToolSpec

PARAMS = SamplingParams(seed=2, max_tokens=300)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Counter:
    """A tool with state that needs approval."""

    def __init__(self, approval="never"):
        nothing = {"type": "object", "properties": {}, "additionalProperties": False}
        self.spec = ToolSpec(name="functions.count", parameters=nothing, approval=approval)
        self.calls = 0
        self.threads = set()

    async def call(self, arguments):
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        return ToolResult(text=str(self.calls))


@pytest.fixture(scope="module")
def llm():
    with LLM() as nano:
        yield nano


def test_a_python_function_is_run_and_the_turn_goes_on(llm):
    reply = llm.chat("What is 3 + 4?", tools=[add], tool_choice="required", params=PARAMS)
    (ran,) = reply.tool_runs
    assert ran.name == "add"
    assert not ran.result.is_error
    assert int(ran.result.text) is not None
    assert reply.tool_calls == []
    assert reply.messages[-1].role == "assistant"


def test_the_next_turn_goes_on_from_the_messages_of_the_last(llm):
    first = llm.chat("What is 3 + 4?", tools=[add], tool_choice="required", params=PARAMS)
    history = [{"role": "user", "content": "What is 3 + 4?"}, *first.messages]
    ids = llm.render(
        [*history, {"role": "user", "content": "And 1 + 1?"}], tools=[FunctionTool(name="add")]
    )
    call = next(message for message in first.messages if message.recipient)
    spelt = list(call.sampled_ids)
    assert any(ids[at : at + len(spelt)] == spelt for at in range(len(ids)))


def test_described_functions_end_the_turn_beside_those_that_are_run(llm):
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    go = FunctionTool(name="go", parameters=nothing)
    reply = llm.chat("Go", tools=[add, go], tool_choice="go", params=PARAMS)
    assert [call.name for call in reply.tool_calls] == ["go"]
    assert reply.finish_reason == "tool_calls"


def test_open_tools_keep_their_state_and_their_thread(llm):
    counter = Counter()
    with Tools(counter) as tools:
        for _ in range(2):
            llm.chat("Go", tools=tools, tool_choice="count", params=PARAMS)
    assert counter.calls == 2
    assert counter.threads == {"ossia-tools"}


@pytest.mark.parametrize(("says", "calls"), [(True, 1), (False, 0)])
def test_a_call_that_wants_a_yes_is_asked_for(llm, says, calls):
    counter, questions = Counter(approval="always"), []

    def approve(pending):
        questions.append(pending.spec.name)
        return says

    with Tools(counter, approve=approve) as tools:
        reply = llm.chat("Go", tools=tools, tool_choice="count", params=PARAMS)
    assert (counter.calls, questions) == (calls, ["functions.count"])
    assert reply.tool_runs[0].result.is_error is not says


def test_a_turn_may_be_left_between_its_generations(llm):
    stream = llm.stream("Go", tools=[Counter()], tool_choice="count", params=PARAMS)
    for event in stream:
        if isinstance(event, ToolFinished):
            break
    stream.close()
    assert not any(isinstance(event, ToolFinished) for event in stream)
    assert isinstance(llm.chat("What is 1 + 1?", params=PARAMS).finish_reason, str)


def test_a_turn_that_is_closed_at_a_result_generates_no_more(llm):
    stream = llm.stream("Go", tools=[Counter()], tool_choice="count", params=PARAMS)
    while not isinstance(next(stream), ToolFinished):
        pass
    stream.close()
    (end,) = stream
    assert (end.reason, end.usage.completion_tokens > 0) == ("cancelled", True)


def test_an_interrupt_ends_the_turn_and_leaves_the_tools_open(llm):
    def interrupted(pending):
        raise KeyboardInterrupt

    with Tools(Counter(approval="always"), approve=interrupted) as tools:
        stream = llm.stream("Go", tools=tools, tool_choice="count", params=PARAMS)
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        assert list(stream) == []
        tools.approve = lambda pending: True
        assert llm.chat("Go", tools=tools, tool_choice="count", params=PARAMS).tool_runs


def test_a_turn_runs_within_an_event_loop_and_outlives_it(llm):
    async def begin():
        stream = llm.stream("Go", tools=[Counter()], tool_choice="count", params=PARAMS)
        return [next(stream)], stream

    first, stream = asyncio.run(begin())
    events = [*first, *stream]
    assert any(isinstance(event, ToolFinished) for event in events)
    assert isinstance(events[-1], Finished)


def test_a_turn_that_is_read_to_its_end_ends_once(llm):
    events = list(llm.stream("Go", tools=[Counter()], tool_choice="count", params=PARAMS))
    assert [type(event) for event in events].count(Finished) == 1


def test_what_cannot_be_written_is_refused_at_once(llm):
    with pytest.raises(RequestError, match="more than once"):
        llm.chat("Go", tools=[add, FunctionTool(name="add")])
    with pytest.raises(RequestError):
        llm.chat("Go", tools=[add], tool_choice="subtract")


def test_tools_that_cannot_be_opened_leave_nothing_running():
    before = threading.active_count()
    with pytest.raises(RequestError, match="two tools"):
        Tools(Counter(), Counter())
    assert threading.active_count() == before


def test_tools_may_be_closed_twice():
    tools = Tools(Counter())
    tools.close()
    tools.close()


def test_what_still_runs_is_cancelled_when_the_loop_closes():
    began, ended = threading.Event(), threading.Event()

    async def slow():
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            ended.set()

    def run():
        with pytest.raises(CancelledError):
            loop.run(slow())

    loop = _LoopThread()
    waits = threading.Thread(target=run)
    waits.start()
    assert began.wait(10)
    loop.close()
    assert ended.is_set()
    waits.join(10)
    assert not waits.is_alive()
