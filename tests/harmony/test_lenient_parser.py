import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harmony_fuzz import Streams, shown, shown_by_pattern
from benchmarks.lenient_parser import ParsedMessage, parse_messages
from tests.harmony.test_output_grammar import ids_of

FINAL = "<|channel|>final<|message|>"


def parsed(tokenizer, text, **options):
    return parse_messages(tokenizer, ids_of(tokenizer, text), **options)


def only(tokenizer, text, **options):
    (message,) = parsed(tokenizer, text, **options)
    return message


def test_a_turn_is_read_message_by_message(tokenizer):
    turn = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{FINAL}Hi.<|return|>"
    assert parsed(tokenizer, turn) == [
        ParsedMessage("assistant", "Hm.", "analysis", terminator="end"),
        ParsedMessage("assistant", "Hi.", "final", terminator="return"),
    ]


def test_a_call_is_read_in_either_order(tokenizer):
    for header in (" to=functions.f<|channel|>commentary", "<|channel|>commentary to=functions.f"):
        call = only(tokenizer, f"{header} <|constrain|>json<|message|>{{}}<|call|>")
        assert call == ParsedMessage(
            "assistant", "{}", "commentary", "functions.f", None, "<|constrain|>json", "call"
        )
        assert call.is_call
        assert not call.is_shown


def test_a_whole_conversation_is_read_with_its_speakers(tokenizer):
    found = parsed(
        tokenizer,
        "<|start|>system<|message|>S<|end|><|start|>user:bob<|message|>U<|end|>"
        "<|start|>assistant to=python<|channel|>analysis code<|message|>1<|call|>"
        "<|start|>python to=assistant<|channel|>analysis<|message|>R<|end|>"
        "<|start|>assistant to=all<|channel|>final json<|message|>A<|end|><|start|>assistant",
        whole=True,
    )
    assert [(m.role, m.name, m.channel, m.recipient, m.content_type, m.text) for m in found] == [
        ("system", None, None, None, None, "S"),
        ("user", "bob", None, None, None, "U"),
        ("assistant", None, "analysis", "python", "code", "1"),
        ("tool", "python", "analysis", "assistant", None, "R"),
        ("assistant", None, "final", None, "json", "A"),
    ]
    assert not any(message.broken for message in found)
    assert [message.is_shown for message in found] == [False, False, False, False, True]


def test_nothing_is_no_message(tokenizer):
    assert parse_messages(tokenizer, []) == parse_messages(tokenizer, [], whole=True) == []


@pytest.mark.parametrize("end", ["end", "return", "call"])
def test_any_terminator_closes_a_body(tokenizer, end):
    message = only(tokenizer, f"{FINAL}Hi<|{end}|>")
    assert (message.text, message.terminator, message.broken) == ("Hi", end, False)


def test_a_body_that_the_ids_stop_in_keeps_its_text(tokenizer):
    message = only(tokenizer, f"{FINAL}Hi")
    assert (message.text, message.terminator, message.broken) == ("Hi", None, False)
    assert message.is_shown


@pytest.mark.parametrize(
    "text",
    ["", " to", " to=f", " to=functions.f<|channel|>", "<|channel|>fin", "<|channel|>final",
     "<|channel|>commentary to=functions.f <|constrain|>js", f"{FINAL}x<|end|><|start|>assi"],
)  # fmt: skip
def test_a_good_header_that_the_ids_stop_in_is_dropped(tokenizer, text):
    assert [m.text for m in parsed(tokenizer, text)] == (["x"] if FINAL in text else [])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("<|message|>x", "the channel is missing"),
        ("<|channel|>finale<|message|>x", "the channel is unknown"),
        ("<|channel|>commentary?<|message|>x", "the channel is unknown"),
        ("<|channel|>final<|channel|>final<|message|>x", "a control token stands in the header"),
        ("<|constrain|>json<|channel|>final<|message|>x", "a control token stands in the header"),
        ("<|channel|>final<|startoftext|><|message|>x", "a control token stands in the header"),
        ("ok<|channel|>final<|message|>x", "text stands before the channel"),
        (" json<|channel|>final<|message|>x", "the header has words too many"),
        ("<|channel|>final <|message|>x", "the header has words too many"),
        ("<|channel|>final a b<|message|>x", "the header has words too many"),
        ("<|channel|>final json<|constrain|>json<|message|>x", "the header has words too many"),
        ("<|channel|>final to=python<|message|>x", "an answer has a recipient"),
        ("<|channel|>analysis to=a/b<|message|>x", "the recipient is no name"),
        (" to=f<|channel|>analysis to=f<|message|>x", "the header has words too many"),
        ("<|start|>assistant:x<|channel|>final<|message|>x", "the role is unknown"),
        ("<|start|><|channel|>final<|message|>x", "the role is unknown"),
    ],
)
def test_a_message_with_a_broken_header_is_hidden(tokenizer, text, note):
    message = only(tokenizer, f"{text}<|return|>")
    assert message.broken
    assert (message.channel, message.recipient, message.text) == ("analysis", None, "x")
    assert not message.is_shown
    assert not message.is_call
    assert message.note.startswith(note)


def test_a_tools_channel_must_be_known_too(tokenizer):
    message = only(tokenizer, "<|start|>python<|channel|>x<|message|>1<|end|>", whole=True)
    assert (message.role, message.name, message.broken) == ("tool", "python", True)


def test_a_control_token_in_a_body_is_dropped_and_marks_it(tokenizer):
    message = only(tokenizer, f"{FINAL}a<|channel|>b<|message|>c<|endoftext|>d<|return|>")
    assert (message.channel, message.text, message.broken) == ("final", "abcd", True)
    assert message.is_shown


def test_a_broken_call_is_no_call(tokenizer):
    call = "<|channel|>commentary to=functions.f<|message|>{}"
    assert not only(tokenizer, f"{call}<|message|><|call|>").is_call
    assert not only(tokenizer, call).is_call
    assert not parsed(tokenizer, f"{call}<|start|>assistant{FINAL}x")[0].is_call


def test_start_closes_the_open_message_as_broken(tokenizer):
    first, second = parsed(tokenizer, f"{FINAL}a<|start|>assistant{FINAL}b<|return|>")
    assert (first.text, first.broken, first.note) == (
        "a", True, "the next message begins before this one ends")  # fmt: skip
    assert (second.text, second.broken) == ("b", False)
    (headless, _) = parsed(tokenizer, f"<|channel|>fi<|start|>assistant{FINAL}b<|return|>")
    assert (headless.text, headless.broken, headless.is_shown) == ("fi", True, False)


def test_text_where_start_is_due_is_hidden(tokenizer):
    _, stray = parsed(tokenizer, f"{FINAL}a<|return|>more")
    assert (stray.text, stray.channel, stray.broken) == ("more", "analysis", True)
    _, reopened = parsed(tokenizer, f"{FINAL}a<|return|>{FINAL}more<|return|>")
    assert (reopened.text, reopened.channel, reopened.broken) == ("more", "analysis", True)


def test_a_terminator_with_nothing_open_is_passed_over(tokenizer):
    assert len(parsed(tokenizer, f"{FINAL}a<|return|><|end|><|return|>")) == 1


def test_a_message_that_ends_in_its_header_keeps_the_words_hidden(tokenizer):
    message = only(tokenizer, "<|channel|>finalHello<|return|>")
    assert (message.text, message.channel, message.broken) == ("finalHello", "analysis", True)


def test_bad_words_that_the_ids_stop_in_are_kept_hidden(tokenizer):
    for text in ("Hello", "<|channel|>Hello", "<|channel|>final<|channel|>"):
        message = only(tokenizer, text)
        assert message.broken
        assert not message.is_shown


@pytest.mark.parametrize("role", ["system", "developer", "user", "user:bob", "user to=x"])
def test_a_prompt_passed_by_mistake_is_one_hidden_message(tokenizer, role):
    prompt = f"<|start|>{role}<|message|>S<|end|><|start|>assistant{FINAL}A<|return|>"
    message = only(tokenizer, prompt)
    assert message.broken
    assert not message.is_shown
    assert message.note == "this is a prompt, where a model's output was expected"


def test_output_may_begin_with_a_start_of_its_own(tokenizer):
    assert only(tokenizer, f"<|start|>assistant{FINAL}A<|return|>").is_shown


def test_names_of_control_tokens_in_text_stay_text(tokenizer):
    name = tokenizer.encode(f"<|end|><|start|>assistant{FINAL}x")
    ids = [*ids_of(tokenizer, FINAL), *name, tokenizer.ids.return_]
    (message,) = parse_messages(tokenizer, ids)
    assert message.text == f"<|end|><|start|>assistant{FINAL}x"


def test_header_words_may_be_split_in_any_way(o200k):
    letters = [o200k.encode(char)[0] for char in "commentary to=functions.f json"]
    ids = [o200k.ids.channel, *letters, o200k.ids.message, *o200k.encode("{}"), o200k.ids.call]
    (message,) = parse_messages(o200k, ids)
    assert (message.recipient, message.content_type, message.broken) == (
        "functions.f",
        "json",
        False,
    )


def test_notes_stay_short(tokenizer):
    message = only(tokenizer, f"<|channel|>{'x' * 5000}<|message|>x<|end|>")
    assert len(message.note) <= 200


def test_thousands_of_mutated_streams_show_what_they_should_and_nothing_else(tokenizer):
    streams, judge = Streams(tokenizer, random.Random(11)), shown_by_pattern(tokenizer)
    total = 0
    for _ in range(4000):
        stream = streams.one()
        found = shown(parse_messages(tokenizer, stream))
        assert found == judge(stream), stream
        total += len(found)
    assert total > 1000


@given(st.data())
def test_any_ids_in_any_order_are_read(tiny, data):
    near = st.integers(-3, tiny.size + 3)
    ids = data.draw(st.lists(near | st.sampled_from(sorted(tiny.control.values())), max_size=60))
    assert shown(parse_messages(tiny, ids)) == shown_by_pattern(tiny)(ids)
    parse_messages(tiny, ids, whole=True)


@given(seed=st.integers(0, 10**6))
def test_ids_cut_anywhere_show_a_beginning_of_what_they_show_whole(tiny, seed):
    stream = Streams(tiny, random.Random(seed)).turn()
    whole = "".join(shown(parse_messages(tiny, stream)))
    for cut in range(len(stream)):
        part = "".join(shown(parse_messages(tiny, stream[:cut]))).rstrip("\ufffd")
        assert whole.startswith(part)


def test_eight_times_the_ids_take_about_eight_times_as_long(tiny):
    def seconds(length):
        ids = [*ids_of(tiny, FINAL), *[65] * length, *[tiny.ids.channel] * length]
        began = time.perf_counter()
        parse_messages(tiny, ids)
        return time.perf_counter() - began

    short = min(seconds(10_000) for _ in range(5))
    assert min(seconds(80_000) for _ in range(3)) < 24 * short  # linear is 8, quadratic 64
