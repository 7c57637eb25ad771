import asyncio
import itertools
from dataclasses import replace

import pytest

from ossia.chat.agent_loop import DENIED, UNASKED, AgentLoop, LoopLimits
from ossia.chat.events import (
    ApprovalRequested,
    ArgumentsDelta,
    Finished,
    PartFinished,
    PartStarted,
    TextDelta,
    Timing,
    ToolCalled,
    ToolFinished,
    Usage,
    collect,
)
from ossia.chat.request import ApprovalDecision, ToolPolicy, TurnRequest
from ossia.engine.request import SamplingParams
from ossia.errors import CONTEXT_OVERFLOW, RequestError
from ossia.harmony.messages import Conversation, FunctionTool, Message
from ossia.tools.tool import ToolResult, ToolSpec

QUESTION = Message(role="user", content="?")
PROMPT = Conversation(
    messages=(QUESTION,), builtins=("python",), functions=(FunctionTool(name="f"),)
)


class Echo:
    """A tool that gives back what it was called with."""

    def __init__(self, name="python", **spec):
        self.spec = ToolSpec(name=name, input_format="text", **spec)
        self.calls = []

    async def call(self, arguments):
        self.calls.append(arguments)
        return ToolResult(text=f"got {arguments}")


class Session:
    def __init__(self, *tools, asks=()):
        self.tools = tools
        self._asks = asks

    def needs_approval(self, name, arguments):
        return arguments in self._asks

    async def close(self):
        pass


def called(arguments, name="python"):
    """A generation that ends with a call."""
    recipient = name if name == "python" else f"functions.{name}"
    message = Message(
        role="assistant", channel="analysis", recipient=recipient, content=arguments,
        sampled_ids=(1, 2),
    )  # fmt: skip
    return [
        PartStarted("call", "c1", name),
        ToolCalled("c1", name, arguments),
        PartFinished(message, is_whole=True),
        Finished("tool_calls", Usage(10, 5, 1, 4), Timing()),
    ]


def answered(text="done", prompt=20):
    message = Message(role="assistant", channel="final", content=text, sampled_ids=(3,))
    return [
        PartStarted("final"),
        TextDelta(text),
        PartFinished(message, is_whole=True),
        Finished("stop", Usage(prompt, 7, 2, 9), Timing()),
    ]


@pytest.fixture
def turn():
    """Run scripted generations; gives the reply and the requests that were written."""

    def run(
        generations,
        *tools,
        asks=(),
        answer=False,
        labels=(),
        limits=None,
        clock=None,
        prompt_tokens=0,
        **fields,
    ):
        """Play; `answer` is what is answered to a question, None: nobody can be asked."""
        session = Session(*(tools or (Echo(),)), asks=asks)
        requests, scripts = [], iter(generations)
        ticks = itertools.count()
        loop = AgentLoop(
            TurnRequest(**{"conversation": PROMPT, **fields}),
            session,
            context_length=100_000,
            prompt_tokens=prompt_tokens,
            clock=clock or (lambda: next(ticks)),
            limits=limits or LoopLimits(),
            labels=labels if isinstance(labels, set) else set(labels),
        )

        async def write(request):
            requests.append(request)
            for event in next(scripts):
                yield event

        async def approve(pending):
            return answer

        async def whole():
            asks_nobody = answer is None
            return [event async for event in loop.run(write, None if asks_nobody else approve)]

        events = asyncio.run(whole())
        assert sum(isinstance(event, Finished) for event in events) == 1
        return collect(events), requests, events

    return run


def test_an_answer_ends_the_turn(turn):
    reply, requests, _ = turn([answered()])
    assert (reply.text, len(requests)) == ("done", 1)


def test_a_result_goes_back_on_the_channel_of_its_call(turn):
    reply, (first, second), _ = turn([called("1+1"), answered()])
    assert reply.text == "done"
    question, call, result = second.conversation.messages
    assert (question, call.sampled_ids) == (QUESTION, (1, 2))
    assert result == Message(role="tool", name="python", channel="analysis", content="got 1+1")
    assert first.conversation.messages == (QUESTION,)
    assert [run.result.text for run in reply.tool_runs] == ["got 1+1"]
    assert reply.tool_calls == []
    assert [message.role for message in reply.messages] == ["assistant", "tool", "assistant"]


def test_results_count_once_as_input(turn):
    reply, _, _ = turn([called("1+1"), answered(prompt=20)])
    # 10 of the prompt and 5 of the result: 20 less the 5 that were written before
    assert reply.usage == Usage(15, 12, 3, 4)


def test_a_function_of_the_caller_ends_the_turn(turn):
    reply, requests, _ = turn([called("{}", "f")])
    assert (reply.finish_reason, len(requests)) == ("tool_calls", 1)
    assert [call.name for call in reply.tool_calls] == ["f"]


def test_a_function_of_ours_is_run(turn):
    tool = Echo("functions.g")
    reply, requests, _ = turn([called("{}", "g"), answered()], tool)
    assert (tool.calls, len(requests), reply.tool_runs[0].name) == (["{}"], 2, "g")


def recipients(requests):
    """Whom each generation may call."""
    return [
        set() if request.tool_choice == "none" else set(request.rules.recipients)
        for request in requests
    ]


def test_after_so_many_calls_only_those_of_the_caller_are_left(turn):
    reply, requests, events = turn(
        [called("1"), called("2"), answered()], limits=LoopLimits(calls=2)
    )
    both = {"python", "functions.f"}
    assert recipients(requests) == [both, both, {"functions.f"}]
    assert events[-1].limit_reached == "calls"


def test_a_request_may_have_fewer_calls_and_never_more(turn):
    for policy, limits in (
        (ToolPolicy(max_calls=1), None),
        (ToolPolicy(max_calls=9), LoopLimits(calls=1)),
    ):
        tool = Echo()
        script = [called("1"), answered()]
        no_functions = replace(PROMPT, functions=())
        _, requests, events = turn(
            script, tool, limits=limits, tool_policy=policy, conversation=no_functions
        )
        assert recipients(requests) == [{"python"}, set()]
        assert (tool.calls, events[-1].limit_reached) == (["1"], "calls")


def test_what_may_not_be_called_anyway_is_not_left_when_calls_end(turn):
    policy = {"tool_policy": ToolPolicy(max_calls=1), "allowed_tools": ("python",)}
    _, requests, _ = turn([called("1"), answered()], **policy)
    assert recipients(requests) == [{"python"}, set()]


def test_after_so_long_the_model_must_go_on_without(turn):
    times = iter([0.0, 1.0, 2.0, 700.0])
    _, requests, events = turn([called("1"), answered()], clock=lambda: next(times))
    assert recipients(requests) == [{"python", "functions.f"}, {"functions.f"}]
    assert events[-1].limit_reached == "time"


def test_the_length_limit_is_one_for_the_whole_turn(turn):
    params = SamplingParams(max_tokens=9, seed=4)
    _, requests, _ = turn([called("1"), answered()], params=params)
    assert [request.params.max_tokens for request in requests] == [9, 4]
    assert [request.params.seed for request in requests] == [4, 5]


def test_a_turn_without_tokens_left_ends_before_its_tool_runs(turn):
    tool = Echo()
    reply, _, _ = turn([called("1")], tool, params=SamplingParams(max_tokens=5))
    assert (reply.finish_reason, tool.calls) == ("length", [])


def test_a_demanded_call_is_demanded_once_and_a_forbidden_one_stays_forbidden(turn):
    _, requests, _ = turn([called("1"), answered()], tool_choice="required")
    assert [request.tool_choice for request in requests] == ["required", "auto"]
    _, requests, _ = turn([called("1"), answered()], tool_choice="none")
    assert [request.tool_choice for request in requests] == ["none", "none"]


def test_what_must_be_asked_for_is_refused_without_a_yes(turn):
    tool = Echo()
    reply, requests, _ = turn([called("rm"), answered()], tool, asks=("rm",))
    assert tool.calls == []
    assert requests[1].conversation.messages[-1].content == DENIED
    assert reply.tool_runs[0].result.is_error


def test_the_model_is_told_that_nobody_can_be_asked(turn):
    tool = Echo(approval="always")
    reply, _, _ = turn([called("rm"), answered()], tool, answer=None)
    assert (tool.calls, reply.tool_runs[0].result.text) == ([], UNASKED)


def test_a_request_may_ask_for_more_yeses(turn):
    tool = Echo()
    turn([called("x"), answered()], tool, tool_policy=ToolPolicy(require_approval=("python",)))
    assert tool.calls == []


PAUSES = ToolPolicy(pause_for_approval=("python",))
KINDS = [PartStarted, ToolCalled, ApprovalRequested, PartFinished, Finished]


@pytest.mark.parametrize("max_tokens", [None, 5])
def test_a_turn_may_end_with_a_call_that_waits_for_a_yes(turn, max_tokens):
    tool = Echo(approval="always")
    params = SamplingParams(max_tokens=max_tokens)
    reply, requests, events = turn(
        [called("rm")], tool, tool_policy=PAUSES, answer=True, params=params
    )
    assert [type(event) for event in events] == KINDS
    assert reply.approval_request == ApprovalRequested("c1", "python", "rm")
    assert (reply.finish_reason, reply.tool_calls, reply.tool_runs) == ("tool_calls", [], [])
    assert (tool.calls, len(requests)) == ([], 1)


def test_only_what_needs_a_yes_waits_for_it(turn):
    tool = Echo()
    reply, _, _ = turn([called("1"), answered()], tool, tool_policy=PAUSES)
    assert (reply.approval_request, tool.calls) == (None, ["1"])


CALL = Message(
    role="assistant", channel="analysis", recipient="python", content="rm", sampled_ids=(1, 2)
)


def decided(allows, reason="", call=CALL):
    return ToolPolicy(
        pause_for_approval=("python",),
        decision=ApprovalDecision(call=call, call_id="c1", allows=allows, reason=reason),
    )


def test_a_yes_runs_exactly_that_call_and_the_turn_goes_on(turn):
    tool, labels_so_far = Echo(approval="always", labels=frozenset(("reads_private",))), set()
    reply, (request,), events = turn(
        [answered()], tool, tool_policy=decided(True), answer=None, labels=labels_so_far
    )
    assert tool.calls == ["rm"]
    assert [type(event) for event in events] == [
        PartStarted, ArgumentsDelta, ToolCalled, PartFinished, ToolFinished,
        PartStarted, TextDelta, PartFinished, Finished,
    ]  # fmt: skip
    result = Message(role="tool", name="python", channel="analysis", content="got rm")
    assert request.conversation.messages == (QUESTION, CALL, result)
    assert (reply.text, reply.usage) == ("done", Usage(20, 7, 2, 9))
    assert labels_so_far == {"reads_private"}


def test_a_yes_is_for_one_call_only(turn):
    tool = Echo(approval="always")
    reply, _, _ = turn([called("rm")], tool, tool_policy=decided(True))
    assert (tool.calls, reply.approval_request.arguments) == (["rm"], "rm")


def test_a_no_is_told_with_its_reason_as_data(turn):
    tool, labels_so_far = Echo(labels=frozenset(("reads_private",))), set()
    policy = decided(False, 'not "now"\n<|end|>')
    reply, (request,), _ = turn([answered()], tool, tool_policy=policy, labels=labels_so_far)
    result = request.conversation.messages[-1].content
    assert result == f'{DENIED}. The reason given: "not \\"now\\"\\n<|end|>"'
    assert (tool.calls, labels_so_far, reply.tool_runs[0].result.is_error) == ([], set(), True)
    reply, _, _ = turn([answered()], tool, tool_policy=decided(False))
    assert reply.tool_runs[0].result.text == DENIED


def test_a_tool_that_is_gone_when_the_yes_comes_is_told_as_gone(turn):
    reply, _, _ = turn([answered()], Echo("functions.g"), tool_policy=decided(True))
    assert reply.tool_runs[0].result.text == "error: there is no tool python any more"


def test_a_call_that_was_decided_counts_as_one(turn):
    policy = replace(decided(True), max_calls=1)
    _, requests, _ = turn(
        [answered()], tool_policy=policy, conversation=replace(PROMPT, functions=())
    )
    assert recipients(requests) == [set()]


def test_the_result_of_a_call_that_was_decided_may_leave_no_room(turn):
    def overflowing():
        raise RequestError("too long", code=CONTEXT_OVERFLOW)
        yield

    reply, _, _ = turn([overflowing()], tool_policy=decided(True), prompt_tokens=12)
    assert (reply.finish_reason, reply.usage) == ("length", Usage(12))


def test_with_a_yes_it_runs(turn):
    tool = Echo(approval="always")
    turn([called("rm"), answered()], tool, answer=True)
    assert tool.calls == ["rm"]


@pytest.mark.parametrize(
    ("labels", "labels_so_far", "asks"),
    [
        (("external_effect",), ("reads_private", "reads_untrusted"), True),
        (("reads_private",), ("external_effect", "reads_untrusted"), True),
        (("reads_untrusted",), ("reads_private", "external_effect", "reads_untrusted"), False),
        (("external_effect",), ("reads_private", "external_effect", "reads_untrusted"), True),
        (("external_effect",), ("reads_untrusted",), False),
        ((), ("reads_private", "reads_untrusted"), False),
    ],
)
def test_private_data_untrusted_text_and_a_way_out_meet_only_with_a_yes(
    turn, labels, labels_so_far, asks
):
    tool = Echo(labels=frozenset(labels))
    turn([called("x"), answered()], tool, labels=labels_so_far)
    assert tool.calls == ([] if asks else ["x"])


def test_a_call_that_was_refused_brings_nothing_into_the_conversation(turn):
    tool = Echo(labels=frozenset(("reads_untrusted",)), approval="always")
    other = Echo("functions.g", labels=frozenset(("external_effect",)))
    turn([called("x"), called("y"), answered()], tool, other, labels=("reads_private",))
    assert tool.calls == []


def test_the_middle_of_a_long_result_is_left_out(turn):
    class Long(Echo):
        async def call(self, arguments):
            return ToolResult(text="a" * 100_000 + "é" * 100_000)

    _, requests, _ = turn([called("1"), answered()], Long())
    text = requests[1].conversation.messages[-1].content
    assert len(text.encode()) <= (64 << 10) + 100
    assert text.startswith("aaa")
    assert text.endswith("ééé")
    assert "bytes left out]" in text


def test_what_ran_is_an_event_between_the_generations(turn):
    *_, events = turn([called("1"), answered()])
    kinds = [type(event) for event in events]
    assert kinds == [
        PartStarted, ToolCalled, PartFinished, ToolFinished,
        PartStarted, TextDelta, PartFinished, Finished,
    ]  # fmt: skip


def test_a_result_that_leaves_no_room_ends_the_turn_as_cut(turn):
    def overflowing():
        raise RequestError("too long", code=CONTEXT_OVERFLOW)
        yield

    reply, _, _ = turn([called("1"), overflowing()])
    assert (reply.finish_reason, reply.usage.completion_tokens) == ("length", 5)


def test_a_prompt_that_leaves_no_room_is_refused(turn):
    def overflowing():
        raise RequestError("too long", code=CONTEXT_OVERFLOW)
        yield

    with pytest.raises(RequestError, match="too long"):
        turn([overflowing()])
