from hypothesis import given
from hypothesis import strategies as st

from ossia.chat.events import (
    PartFinished,
    PartStarted,
    ToolFinished,
)
from ossia.harmony.messages import Message
from ossia.server.api.history import (
    HistoryMessage,
    TurnRecorder,
    paired,
    with_result,
    without_broken_off,
)
from ossia.tools.tool import ToolResult


def user(text="u"):
    return HistoryMessage(message=Message(role="user", content=text))


def called(call_id, name="f"):
    message = Message(
        role="assistant", channel="commentary", recipient=f"functions.{name}", content="{}"
    )
    return HistoryMessage(message=message, call_id=call_id)


def result(call_id, name="f"):
    message = Message(role="tool", name=f"functions.{name}", channel="commentary", content="r")
    return HistoryMessage(message=message, call_id=call_id)


def test_results_of_calls_made_at_once_stand_behind_their_calls():
    a, b, c = called("a"), called("b"), called("c")
    ra, rb, rc = result("a"), result("b"), result("c")
    history = [user(), a, b, c, rc, ra, rb]
    assert paired(history) == [history[0], a, ra, b, rb, c, rc]


def test_a_loop_in_order_is_left_as_it_is():
    history = [user(), called("a"), result("a"), called("b"), result("b"), user(), called("c")]
    assert paired(history) == history


def test_nothing_is_moved_over_what_a_user_said():
    history = [called("a"), called("b"), user(), result("a"), result("b")]
    assert paired(history) == history


def test_a_result_of_an_unknown_call_stays():
    history = [called("a"), called("b"), result("c"), result(None)]
    assert paired(history) == history


HISTORIES = st.lists(
    st.one_of(
        st.builds(user),
        st.builds(called, st.sampled_from("abc")),
        st.builds(result, st.sampled_from("abcd")),
    ),
    max_size=12,
)


@given(HISTORIES)
def test_nothing_is_lost_and_a_second_time_changes_nothing(history):
    once = paired(history)
    assert sorted(map(id, once)) == sorted(map(id, history))
    assert paired(once) == once
    assert [one for one in once if one.message.role != "tool"] == [
        one for one in history if one.message.role != "tool"
    ]


def of_python():
    message = Message(role="assistant", channel="analysis", recipient="python", content="2+2")
    return HistoryMessage(message=message, call_id="call_1", item_id="ci_1")


def test_what_a_tool_of_ours_gave_follows_its_call():
    call = of_python()
    ran = ToolFinished("call_1", "python", "2+2", ToolResult(text="4"), 0.5)
    whole = with_result(call, ran)
    first, second = whole.messages
    assert first == call.message
    assert (second.role, second.name, second.channel) == ("tool", "python", "analysis")
    assert second.text == "4"
    assert (whole.item_id, whole.call_id) == ("ci_1", None)
    assert call.messages == (call.message,)


def test_only_a_call_that_was_to_run_here_and_did_not_is_left_out():
    ran = with_result(of_python(), ToolFinished("call_1", "python", "", ToolResult(text="4"), 0.5))
    history = [user(), ran, called("a"), of_python()]
    assert without_broken_off(history) == history[:3]


def test_a_turn_is_recorded_message_by_message_and_a_call_that_was_cut_is_left_out():
    thought = Message(role="assistant", channel="analysis", content="hm")
    call = called("a").message
    recorder = TurnRecorder()
    for event in (
        PartStarted("analysis"),
        PartFinished(thought, False),
        PartStarted("call", "a", "f"),
        PartFinished(call, True),
        PartStarted("call", "b", "f"),
        PartFinished(call, False),
    ):
        recorder.push(event)
    assert recorder.messages == [HistoryMessage(message=thought), called("a")]


def test_a_recorded_message_has_the_id_under_which_it_was_written():
    thought = Message(role="assistant", channel="analysis", content="hm")
    written = HistoryMessage(message=thought, item_id="rs_1")
    recorder = TurnRecorder()
    recorder.push(PartStarted("analysis"))
    recorder.push(PartFinished(thought, True), written)
    assert recorder.messages == [written]
