import pytest

from ossia.errors import RequestError
from ossia.harmony.output_rules import OutputRules

TOOLS = {"functions.f": "json", "python": "text"}


@pytest.mark.parametrize(
    ("choice", "called", "may_answer"),
    [
        ("auto", TOOLS, True),
        ("none", {}, True),
        ("required", TOOLS, False),
        ("python", {"python": "text"}, False),
    ],
)
def test_the_choice_says_what_may_be_called(choice, called, may_answer):
    rules = OutputRules(recipients=TOOLS, choice=choice)
    assert rules.callable == called
    assert rules.may_answer == may_answer


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"recipients": {"a b": "json"}}, "is not a name"),
        ({"recipients": {"a\n": "json"}}, "is not a name"),
        ({"recipients": {"f": "xml"}}, "expected json or text"),
        ({"final_kind": "xml"}, "content kind of the answer"),
        ({"choice": "g"}, "the tool choice is 'g'"),
        ({"choice": "required", "recipients": {}}, "no tool is offered"),
        ({"max_messages": 0}, "must be from 1"),
        ({"max_messages": 1025}, "must be from 1"),
        ({"recipients": {f"f{n}": "json" for n in range(1025)}}, "over 1024"),
    ],
)
def test_rules_no_message_could_finish_are_refused(fields, refusal):
    with pytest.raises(RequestError, match=refusal):
        OutputRules(**{"recipients": TOOLS, **fields})
