import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.chat.request import TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Conversation, Message
from ossia.server.responses.truncation import cuts, start_turn, without
from tests.server.scripted import ScriptedEngine


def developer(text):
    return Message(role="developer", content=text)


def user(text="q"):
    return Message(role="user", content=text)


def answered(text="a"):
    return Message(role="assistant", channel="final", content=text)


def called(name="f"):
    return Message(
        role="assistant", channel="commentary", recipient=f"functions.{name}", content="{}"
    )


def came(name="f"):
    return Message(role="tool", name=f"functions.{name}", channel="commentary", content="r")


def test_a_history_can_begin_at_every_later_turn():
    assert cuts([user(), answered(), user(), answered(), user()]) == [2, 4]


def test_leading_instructions_are_no_turn():
    assert cuts([developer("a"), developer("b"), user(), answered(), user()]) == [4]


def test_what_a_developer_said_stays():
    messages = [developer("a"), user("1"), developer("b"), user("2")]
    assert without(messages, 3) == (developer("a"), developer("b"), user("2"))


def test_a_call_is_not_parted_from_its_result():
    messages = [user(), called(), user(), came(), user(), called(), came(), user()]
    assert cuts(messages) == [4, 7]


def test_a_call_that_nobody_answered_holds_nothing_back():
    assert cuts([user(), called(), user(), called("g"), came("g"), user()]) == [2, 5]


def test_a_result_of_no_call_holds_nothing_back():
    assert cuts([user(), came(), user()]) == [2]


MESSAGES = st.lists(
    st.sampled_from([developer("d"), user(), answered(), called(), called("g"), came(), came("g")]),
    max_size=14,
)


@given(MESSAGES)
def test_every_cut_keeps_the_last_question_and_all_instructions(messages):
    for at in cuts(messages):
        left = without(messages, at)
        assert 0 < len(left) < len(messages)
        last = max(place for place, one in enumerate(messages) if one.role == "user")
        assert left[-(len(messages) - last) :] == tuple(messages[last:])
        assert left.count(developer("d")) == messages.count(developer("d"))


class Narrow(ScriptedEngine):
    """An engine whose context holds few messages."""

    most = 3
    tried = ()

    async def start(self, request):
        self.tried = (*self.tried, len(request.conversation.messages))
        if self.tried[-1] > self.most:
            raise RequestError("too long", code="context_length_exceeded")
        return await super().start(request)


def turn(messages):
    return TurnRequest(conversation=Conversation(messages=tuple(messages)))


@given(num=st.integers(1, 40), most=st.integers(1, 40))
def test_as_few_turns_are_left_out_as_possible_and_only_one_runs(num, most):
    engine = Narrow()
    engine.play([[]])
    engine.most = most
    messages = [user(str(at)) for at in range(num)]
    stream = asyncio.run(start_turn(engine, turn, messages, truncates=True))
    remaining = engine.requests[engine.streams.index(stream)].conversation.messages
    assert remaining == tuple(messages[-most:])
    assert [each for each in engine.streams if not each.is_closed] == [stream]
    assert len(engine.tried) <= 8


def test_what_has_no_meaning_is_refused_at_once():
    engine = ScriptedEngine()
    engine.play([RequestError("no")])
    with pytest.raises(RequestError):
        asyncio.run(start_turn(engine, turn, [user(), user()], truncates=True))
    assert len(engine.requests) == 1


@pytest.mark.parametrize("well", [0, 1])
def test_an_engine_that_falls_ill_meanwhile_leaves_nothing_running(well):
    class Ill(Narrow):
        async def start(self, request):
            if self.tried and len(self.requests) == well:
                raise RequestError("ill")
            return await super().start(request)

    engine = Ill()
    engine.play([[]])
    messages = [user(str(at)) for at in range(8)]
    with pytest.raises(RequestError, match="ill"):
        asyncio.run(start_turn(engine, turn, messages, truncates=True))
    assert len(engine.streams) == well
    assert all(stream.is_closed for stream in engine.streams)


def test_what_never_fits_is_refused_as_too_long():
    engine = Narrow()
    engine.most = 0
    with pytest.raises(RequestError) as found:
        asyncio.run(start_turn(engine, turn, [user(), user()], truncates=True))
    assert found.value.code == "context_length_exceeded"
