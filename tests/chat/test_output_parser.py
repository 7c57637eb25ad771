import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.chat.events import (
    ArgumentsDelta,
    Finished,
    PartFinished,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    ToolCalled,
    collect,
)
from ossia.chat.output_parser import OutputParser, StopFinder, UsageTracker, parse_tokens
from ossia.engine.request import SampledToken, TokenEvent
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import OutputRules

TOOLS = {"functions.f": "json", "python": "text"}
THOUGHT = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"


@pytest.fixture
def turn(tokenizer, played):
    """Events of a scripted turn, with a clock that ticks once a look."""

    def read(text, reason="stop", stop=(), tools=TOOLS):
        grammar = OutputGrammar(tokenizer, OutputRules(recipients=tools), vocab_size=320)
        finder, ticks = StopFinder(stop), itertools.count()
        usage = UsageTracker(lambda: next(ticks), prompt_tokens=7)
        return list(
            parse_tokens(played(text, reason), OutputParser(grammar, tokenizer, finder, usage))
        )

    return read


@pytest.fixture
def parse(tokenizer):
    def read(tokens):
        grammar = OutputGrammar(tokenizer, OutputRules(recipients=TOOLS), vocab_size=320)
        stop = StopFinder(())
        usage = UsageTracker(lambda: 0.0, prompt_tokens=7)
        return parse_tokens(iter(tokens), OutputParser(grammar, tokenizer, stop, usage))

    return read


def test_reasoning_and_answer_are_told_apart(turn):
    *events, end = turn(THOUGHT + "<|channel|>final<|message|>Hi<|return|>")
    pieces = [event for event in events if isinstance(event, ReasoningDelta | TextDelta)]
    assert pieces == [ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("H"), TextDelta("i")]
    assert isinstance(end, Finished)
    assert end.reason == "stop"


def test_tokens_are_counted(turn, spell):
    text = THOUGHT + "<|channel|>final<|message|>Hi<|return|>"
    usage = collect(turn(text)).usage
    # "hm" and the END that closes it are reasoning; bytes are tokens here
    assert (usage.prompt_tokens, usage.reasoning_tokens) == (7, 3)
    assert usage.completion_tokens == len(spell(text))


def test_what_of_the_prompt_was_at_hand_is_reported(parse, spell):
    events = [TokenEvent(0, SampledToken(each), cached_tokens=5) for each in spell("<|channel|>")]
    assert collect(parse(events)).usage.cached_tokens == 5


def test_a_call_is_one_event_with_whole_arguments(turn):
    text = THOUGHT + '<|channel|>commentary to=functions.f json<|message|>{"a":1}<|call|>'
    reply = collect(turn(text))
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("f", '{"a":1}')
    assert call.call_id.startswith("call_")
    assert reply.finish_reason == "tool_calls"
    assert reply.text == ""


def test_a_built_in_tool_keeps_its_name(turn):
    call = collect(turn(" to=python<|channel|>analysis code<|message|>1+1<|call|>")).tool_calls[0]
    assert (call.name, call.arguments) == ("python", "1+1")


def test_a_preamble_is_shown(turn):
    text = (
        "<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant"
        "<|channel|>final<|message|>So.<|return|>"
    )
    events = turn(text)
    assert PreambleDelta("L") in events
    assert collect(events).preamble == "Let me see."


def test_an_answer_cut_by_its_length_keeps_what_was_said(turn):
    reply = collect(turn("<|channel|>final<|message|>Half an ans", reason="length"))
    assert (reply.text, reply.finish_reason) == ("Half an ans", "length")


def test_a_call_cut_by_its_length_is_no_call(turn):
    text = '<|channel|>commentary to=functions.f<|message|>{"a":'
    reply = collect(turn(text, reason="length"))
    assert (reply.tool_calls, reply.finish_reason) == ([], "length")


def test_a_header_cut_by_its_length_shows_nothing(turn):
    (end,) = turn("<|channel|>fin", reason="length")
    assert end.reason == "length"


def test_a_stop_string_ends_the_answer_before_it(turn):
    text = "<|channel|>analysis<|message|>END?<|end|><|start|>assistant<|channel|>final<|message|>"
    reply = collect(turn(text + "One END two<|return|>", stop=["END"]))
    assert (reply.analysis, reply.text, reply.finish_reason) == ("END?", "One ", "stop")


def test_what_was_held_back_for_a_stop_string_comes_at_the_end(turn):
    reply = collect(turn("<|channel|>final<|message|>One EN<|return|>", stop=["END"]))
    assert (reply.text, reply.finish_reason) == ("One EN", "stop")


def test_a_turn_cancelled_before_its_first_token_is_empty(tokenizer):
    grammar = OutputGrammar(tokenizer, OutputRules(recipients={}), vocab_size=320)
    stop, usage = StopFinder(()), UsageTracker(lambda: 0.0, prompt_tokens=1)
    tokens = iter([TokenEvent(0, None, finish_reason="cancelled")])
    (end,) = parse_tokens(tokens, OutputParser(grammar, tokenizer, stop, usage))
    assert (end.reason, end.usage.completion_tokens) == ("cancelled", 0)
    assert end.timing.tokens_per_second == 0


def test_characters_cut_across_tokens_come_out_whole(turn):
    events = turn("<|channel|>final<|message|>ça €!<|return|>")
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert pieces == ["ç", "a", " ", "€", "!"]


def test_time_is_measured_from_the_first_sampled_token(tokenizer, spell):
    grammar = OutputGrammar(tokenizer, OutputRules(recipients={}), vocab_size=320)
    times = iter([10.0, 10.5, 11.0, 11.5, 12.0])
    usage = UsageTracker(lambda: next(times), prompt_tokens=1)
    ids = spell("<|channel|>a")
    events = [
        TokenEvent(0, SampledToken(ids[0]), forced=True),
        TokenEvent(0, SampledToken(ids[1])),
        TokenEvent(0, SampledToken(spell("n")[0])),
        TokenEvent(0, SampledToken(spell("a")[0]), finish_reason="length"),
    ]
    stop = StopFinder(())
    (end,) = parse_tokens(iter(events), OutputParser(grammar, tokenizer, stop, usage))
    assert end.timing.time_to_first_token == 1.0  # the forced one at 10.5 cost no sampling
    assert end.timing.tokens_per_second == 2 / 1.0


CALL = THOUGHT + "<|channel|>commentary to=functions.f json<|message|>{}<|call|>"


def test_a_turn_is_parts_one_after_the_other(turn):
    kinds = [type(event) for event in turn(CALL)]
    assert kinds == [
        PartStarted, ReasoningDelta, ReasoningDelta, PartFinished,
        PartStarted, ArgumentsDelta, ArgumentsDelta, ToolCalled, PartFinished, Finished,
    ]  # fmt: skip


def test_a_call_bears_one_id_from_its_beginning(turn):
    events = turn(CALL)
    began = next(each for each in events if isinstance(each, PartStarted) and each.kind == "call")
    assert (began.call_id, began.name) == (collect(events).tool_calls[0].call_id, "f")


def test_messages_hold_the_exact_ids_that_were_sampled(turn, spell):
    thought, call = collect(turn(CALL)).messages
    assert thought.sampled_ids == tuple(spell("<|channel|>analysis<|message|>hm<|end|>"))
    assert call.sampled_ids == tuple(
        spell("<|channel|>commentary to=functions.f json<|message|>{}<|call|>")
    )
    assert (call.channel, call.recipient, call.text) == ("commentary", "functions.f", "{}")


def test_an_answer_cut_at_a_stop_string_is_whole_but_has_no_exact_ids(turn):
    events = turn("<|channel|>final<|message|>One END two<|return|>", stop=["END"])
    (ended,) = [each for each in events if isinstance(each, PartFinished)]
    assert (ended.is_whole, ended.message.text, ended.message.sampled_ids) == (True, "One ", None)


def test_a_message_cut_by_the_length_is_not_whole(turn):
    events = turn("<|channel|>final<|message|>Half", reason="length")
    (ended,) = [each for each in events if isinstance(each, PartFinished)]
    assert (ended.is_whole, ended.message.text) == (False, "Half")


TEXT = st.text("abc", max_size=30)


def shown(pieces, stops):
    finder = StopFinder(stops)
    text = "".join(finder.push(piece) for piece in pieces)
    return text + finder.close(), finder.found


def test_text_ends_before_the_stop():
    assert shown(["hello\nwor", "ld"], ["\n"]) == ("hello", True)


def test_a_stop_split_over_pieces_is_found():
    assert shown(["one E", "N", "D two"], ["END"]) == ("one ", True)


def test_what_only_began_a_stop_is_shown_in_the_end():
    assert shown(["one EN"], ["END"]) == ("one EN", False)


def test_nothing_that_may_begin_a_stop_is_shown_early():
    finder = StopFinder(["END"])
    assert finder.push("one E") == "one "
    assert finder.push("x") == "Ex"


@given(TEXT, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_the_split_of_the_text_does_not_matter(text, stops, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    places = [text.find(stop) for stop in stops if stop in text]
    # a stop that ends first wins over one that begins earlier but ends later
    found, has_stopped = shown(pieces, stops)
    assert has_stopped == bool(places)
    if not places:
        assert found == text
    else:
        assert text.startswith(found)
        assert not any(stop in found for stop in stops)
        assert any(text.startswith(stop, len(found)) for stop in stops)
