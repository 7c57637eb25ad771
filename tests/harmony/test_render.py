import random

import pytest

from benchmarks.harmony_conversations import conversation
from benchmarks.harmony_parity import compare
from benchmarks.lenient_parser import parse_messages
from ossia.errors import RequestError
from ossia.harmony.messages import Conversation, FunctionTool, Message
from ossia.harmony.render import render_example, render_message, render_prompt

HI = Message(role="user", content="Hi")
THOUGHT = Message(role="assistant", channel="analysis", content="Hm.")
FINAL = Message(role="assistant", channel="final", content="Hello.")
CALL = Message(role="assistant", channel="commentary", recipient="functions.f", content="{}",
               content_type="json")  # fmt: skip
RESULT = Message(role="tool", name="functions.f", channel="commentary", content="ok")


def shown(tokenizer, message):
    return tokenizer.decode(render_message(tokenizer, message))


@pytest.mark.parametrize("seed", range(4))
def test_renders_as_the_published_library(o200k, library, seed):
    for number in range(50):
        agreed = compare(library, o200k, conversation(random.Random(f"test/{seed}/{number}")))
        assert agreed["conversations"] == 1


def test_the_smallest_prompt_has_its_known_length(o200k):
    prompt = render_prompt(o200k, Conversation(messages=(HI,), date="2025-06-28"))
    assert len(prompt) == 68
    assert prompt[-2:] == [200006, 173781]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (HI, "<|start|>user<|message|>Hi<|end|>"),
        (Message(role="user", name="bob", content="x"), "<|start|>user:bob<|message|>x<|end|>"),
        (THOUGHT, "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"),
        (FINAL, "<|start|>assistant<|channel|>final<|message|>Hello.<|end|>"),
        (CALL, "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>"),
        (Message(role="assistant", channel="analysis", recipient="python", content="1",
                 content_type="<|constrain|>json"),
         "<|start|>assistant to=python<|channel|>analysis <|constrain|>json<|message|>1<|call|>"),
        (Message(role="assistant", channel="commentary", recipient="all", content="x"),
         "<|start|>assistant<|channel|>commentary<|message|>x<|end|>"),
        (RESULT, "<|start|>functions.f to=assistant<|channel|>commentary<|message|>ok<|end|>"),
        (Message(role="developer", content=("Be ", "kind")),
         "<|start|>developer<|message|># Instructions\n\nBe kind<|end|>"),
    ],
)  # fmt: skip
def test_each_kind_of_message_has_its_spelling(tokenizer, message, text):
    assert shown(tokenizer, message) == text


def test_parts_are_encoded_one_by_one(o200k):
    ids = render_message(o200k, Message(role="user", content=("<|en", "d|>")))
    assert ids[3:-1] == [*o200k.encode("<|en"), *o200k.encode("d|>")]


def test_sampled_ids_stand_for_the_message(tokenizer):
    ids = tokenizer.ids
    odd = [ids.channel, *tokenizer.encode("final"), ids.message, *tokenizer.encode("He"),
           *tokenizer.encode("llo")]  # fmt: skip
    head = [ids.start, *tokenizer.encode("assistant")]

    def rendered(*sampled):
        message = Message(role="assistant", channel="final", content="Hello", sampled_ids=sampled)
        return render_message(tokenizer, message)

    assert rendered(*odd, ids.return_) == [*head, *odd, ids.end]
    assert rendered(*odd, ids.end) == [*head, *odd, ids.end]
    assert rendered(*odd, ids.call) == [*head, *odd, ids.call]
    assert rendered(*odd) == [*head, *odd, ids.end]
    assert rendered() == [*head, ids.end]


def test_no_text_puts_a_control_id_into_a_prompt(tokenizer):
    forged = "".join(tokenizer.control)
    tool = FunctionTool(name="f", description=forged, parameters={"properties": {forged: {}}})
    messages = (
        Message(role="user", content=forged),
        CALL,
        Message(role="tool", name="functions.f", channel="commentary", content=forged),
        Message(role="developer", content=forged),
    )
    honest = Conversation(messages=messages, instructions=forged, functions=(tool,))
    found = [each for each in render_prompt(tokenizer, honest) if not tokenizer.is_text(each)]
    ids = tokenizer.ids
    plain = [ids.start, ids.message, ids.end]
    routed = [ids.start, ids.channel, ids.message]
    assert found == [*plain * 3, *routed, ids.call, *routed, ids.end, *plain, ids.start]


def test_a_lone_surrogate_in_a_message_is_refused(tokenizer):
    with pytest.raises(RequestError, match="lone surrogate"):
        render_prompt(tokenizer, Conversation(messages=(Message(role="user", content="\udc00"),)))


def test_a_prompt_is_read_back_as_its_messages(tokenizer):
    messages = (HI, THOUGHT, CALL, RESULT, THOUGHT, FINAL, HI, THOUGHT, CALL, RESULT)
    prompt = render_prompt(tokenizer, Conversation(messages=messages, instructions="x"))
    found = parse_messages(tokenizer, prompt, whole=True)
    assert [m.role for m in found[:2]] == ["system", "developer"]
    history = (HI, CALL, RESULT, FINAL, HI, THOUGHT, CALL, RESULT)
    assert [(m.role, m.channel, m.text) for m in found[2:]] == [
        (m.role, m.channel, m.text) for m in history
    ]
    assert not any(m.broken for m in found)


def test_an_example_ends_with_return_and_marks_what_the_model_says(tokenizer):
    messages = (HI, FINAL, HI, THOUGHT, CALL, RESULT, FINAL)
    example = render_example(tokenizer, Conversation(messages=messages))
    spoken = [tokenizer.decode(example.ids[a:b]) for a, b in example.spans]
    assert spoken == [
        "<|channel|>final<|message|>Hello.<|end|>",
        "<|channel|>analysis<|message|>Hm.<|end|>",
        " to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
        "<|channel|>final<|message|>Hello.<|return|>",
    ]
    learned = [i for i, mark in zip(example.ids, example.learned(), strict=True) if mark]
    assert tokenizer.decode(learned) == "".join(spoken)


def test_an_example_that_ends_with_a_call_has_no_return(tokenizer):
    example = render_example(tokenizer, Conversation(messages=(HI, CALL)))
    assert example.ids[-1] == tokenizer.ids.call
    assert tokenizer.ids.return_ not in example.ids


def test_an_example_of_nothing_said_teaches_nothing(tokenizer):
    assert not any(render_example(tokenizer, Conversation()).learned())
    assert not any(render_example(tokenizer, Conversation(messages=(HI,))).learned())


def test_an_example_is_the_prompt_and_the_answer(tokenizer):
    before, after = (HI, THOUGHT, FINAL, HI), (THOUGHT, FINAL)
    prompt = render_prompt(tokenizer, Conversation(messages=before))
    example = render_example(tokenizer, Conversation(messages=before + after))
    assert list(example.ids[: len(prompt)]) == prompt
