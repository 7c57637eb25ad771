import json
from dataclasses import replace

import pytest

from ossia.chat.events import (
    Finished,
    PartFinished,
    ReasoningDelta,
    TextDelta,
    Timing,
    ToolCalled,
    Usage,
)
from ossia.evals.nano_cells import Cell, items
from ossia.evals.replay import replay, steps
from ossia.harmony.messages import Message
from ossia.tasks.nano.judge import fits

MEDIUM = {"column": "trained", "effort": "medium"}


class Scripted:
    """A model that says what it is told to say, and remembers what it was asked."""

    def __init__(self, *turns):
        self.turns, self.requests = list(turns), []

    def generate_turn(self, request):
        self.requests.append(request)
        message, thought = self.turns.pop(0)
        usage = Usage(reasoning_tokens=len(thought.split()))
        if thought:
            yield ReasoningDelta(thought)
        if message.recipient is None:
            yield TextDelta(message.text)
        else:
            name = message.recipient.removeprefix("functions.")
            yield ToolCalled("1", name, message.text)
        yield PartFinished(message, True)
        reason = "stop" if message.recipient is None else "tool_calls"
        yield Finished(reason, usage, Timing())


def perfect(conversation, thought="one two"):
    return Scripted(*((step.expected, thought) for step in steps(conversation)))


def counted(played):
    return (played.num_due, played.num_begun, played.num_whole, played.num_exact)


@pytest.mark.parametrize("task", ["functions", "python", "search", "records", "stories"])
def test_a_model_that_does_what_is_expected_is_right(task):
    for conversation in items(Cell(task=task, **MEDIUM), 12):
        model = perfect(conversation)
        played = replay(model, conversation)
        due = list(steps(conversation))
        assert played.right
        assert played.reasoning_tokens == 2 * len(due)
        assert played.num_due == played.num_begun == len(due) - 1
        assert played.num_exact == played.num_whole == played.num_begun
        assert played.found in ((True,) if "【" in due[-1].expected.text else (None,))
        assert played.valid in ((True,) if conversation.response_formats else (None,))


def test_what_a_tool_gives_is_told_and_what_was_thought_before_stays():
    conversation = next(
        each for each in items(Cell(task="python", **MEDIUM), 5) if len(list(steps(each))) == 2
    )
    model = perfect(conversation)
    replay(model, conversation)
    second = model.requests[1].conversation.messages
    assert second[-1].name == "python"
    assert second[-2].recipient == "python"


def test_another_tool_or_other_arguments_end_the_play():
    conversation = next(
        each for each in items(Cell(task="functions", **MEDIUM), 20) if len(list(steps(each))) == 2
    )
    call, answer = (step.expected for step in steps(conversation))
    arguments = {**json.loads(call.text), "more": 1}
    wrong = Message(
        role="assistant", channel="commentary", recipient=call.recipient,
        content=json.dumps(arguments),
    )  # fmt: skip
    played = replay(Scripted((wrong, "")), conversation)
    assert not played.right
    assert counted(played) == (1, 1, 1, 0)
    played = replay(Scripted((replace(call, content=call.text[:-1]), "")), conversation)
    assert counted(played) == (1, 1, 0, 0)
    played = replay(Scripted((answer, "")), conversation)
    assert not played.right
    assert counted(played) == (1, 0, 0, 0)
    spaced = Message(
        role="assistant", channel="commentary", recipient=call.recipient,
        content=json.dumps(json.loads(call.text), indent=1),
    )  # fmt: skip
    assert replay(Scripted((spaced, ""), (answer, "")), conversation).right


def test_a_call_that_was_cut_is_begun_and_not_whole():
    conversation = next(
        each for each in items(Cell(task="functions", **MEDIUM), 20) if len(list(steps(each))) == 2
    )
    call = next(steps(conversation)).expected

    class Cutting:
        def generate_turn(self, request):
            yield PartFinished(replace(call, content=call.text[:-2]), False)
            yield Finished("length", Usage(), Timing())

    played = replay(Cutting(), conversation)
    assert not played.right
    assert counted(played) == (1, 1, 0, 0)


def test_a_value_counts_also_where_the_wrong_line_is_cited():
    conversation = next(
        each
        for each in items(Cell(task="search", **MEDIUM), 20)
        if "【" in each.messages[-1].text and len(list(steps(each))) == 2
    )
    call, answer = (step.expected for step in steps(conversation))
    elsewhere = answer.text.replace("†L", "†L9")
    for text, found in ((elsewhere, True), ("Nobody knows. 【0†L1】", False)):
        played = replay(Scripted((call, ""), (replace(answer, content=text), "")), conversation)
        assert not played.right
        assert played.found is found


def test_a_call_where_an_answer_was_due_is_wrong():
    conversation = items(Cell(task="small talk", **MEDIUM), 1)[0]
    call = Message(role="assistant", channel="analysis", recipient="python", content="1")
    played = replay(Scripted((call, "")), conversation)
    assert not played.right
    assert counted(played) == (0, 1, 1, 0)


def test_an_answer_is_held_to_its_format_unless_told_otherwise():
    conversation = items(Cell(task="records", **MEDIUM), 1)[0]
    for constrained in (True, False):
        model = perfect(conversation)
        replay(model, conversation, constrained=constrained)
        assert (model.requests[0].answer is not None) == constrained


def test_the_schemas_of_the_items_say_what_they_allow():
    found = items(Cell(task="records", **MEDIUM), 20)
    assert all(
        fits(json.loads(each.messages[-1].text), each.response_formats[0].schema) for each in found
    )
