import pytest

from ossia.chat.request import AnswerSchema, TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Conversation, FunctionTool

TOOLS = Conversation(
    functions=(FunctionTool(name="f"), FunctionTool(name="g", input_format="text"))
)


def test_every_offered_function_may_be_called_unless_told():
    rules = TurnRequest(conversation=TOOLS).rules
    assert rules.recipients == {"functions.f": "json", "functions.g": "text"}
    assert (rules.choice, rules.final_kind, rules.allow_analysis) == ("auto", "text", True)


def test_only_allowed_functions_may_be_called():
    rules = TurnRequest(conversation=TOOLS, allowed_tools=("g",)).rules
    assert rules.recipients == {"functions.g": "text"}


def test_a_named_function_must_be_called():
    assert TurnRequest(conversation=TOOLS, tool_choice="g").rules.choice == "functions.g"


def test_a_shape_makes_the_answer_json():
    request = TurnRequest(conversation=TOOLS, answer=AnswerSchema(), allow_analysis=False)
    assert (request.rules.final_kind, request.rules.allow_analysis) == ("json", False)
    assert request.answer == AnswerSchema(schema={"type": "object"}, strict=True)


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"max_analysis_tokens": -1}, "max_analysis_tokens"),
        ({"tool_choice": "h"}, "tool_choice"),
        ({"conversation": Conversation(), "tool_choice": "required"}, "tool_choice"),
        ({"allowed_tools": ("f", "h")}, "tool_choice.tools"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(turn, param):
    with pytest.raises(RequestError) as refused:
        TurnRequest(**{"conversation": TOOLS, **turn})
    assert refused.value.param == param
