import json
import re

import pytest

from ossia import LLM, RequestError, SamplingParams
from ossia.chat import shapes
from ossia.chat.request import TurnRequest
from ossia.grammar.body import Grammars
from ossia.harmony.messages import FunctionTool

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
HOSTILE = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=a)b"}}}
LONG = SamplingParams(seed=1, max_tokens=400)


@pytest.fixture(scope="module")
def llm():
    with LLM() as opened:
        yield opened


def tool(parameters, **more):
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


def schema(shape, **more):
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": shape, **more}}


def test_an_answer_is_held_to_its_schema_and_reasoning_is_not(llm):
    reply = llm.chat("Where?", params=LONG, response_format=schema(SCHEMA))
    assert json.loads(reply.text)["city"] in ("Rome", "Oslo")
    assert reply.finish_reason == "stop"
    assert reply.analysis


def test_a_call_is_held_to_the_schema_of_its_function(llm):
    reply = llm.chat("Where?", params=LONG, tools=[tool(SCHEMA)], tool_choice="required")
    assert json.loads(reply.tool_calls[0].arguments)["city"] in ("Rome", "Oslo")


NUMBERED = ("lark", 'start: CITY (", " CITY){2}\nCITY: "Rome" | "Oslo" | /[a-c]{2,4}/')


@pytest.mark.parametrize(
    ("grammar", "whole"),
    [
        (("regex", "^(Rome|Oslo): [0-9]{1,3}$"), "(Rome|Oslo): [0-9]{1,3}"),
        (NUMBERED, "(Rome|Oslo|[a-c]{2,4})(, (Rome|Oslo|[a-c]{2,4})){2}"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_call_that_is_text_is_held_to_its_grammar_to_its_end(llm, grammar, whole, seed):
    offered = FunctionTool(name="f", body="text", grammar=grammar)
    params = SamplingParams(seed=seed, max_tokens=400)
    reply = llm.chat("Where?", params=params, tools=[offered], tool_choice="required")
    assert reply.finish_reason == "tool_calls"
    assert re.fullmatch(whole, reply.tool_calls[0].arguments)


def test_a_grammar_that_cannot_be_honoured_is_refused_with_its_place(llm):
    offered = FunctionTool(name="f", body="text", grammar=("lark", "start: nothing"))
    with pytest.raises(RequestError, match="cannot be read at its line 1") as refused:
        llm.chat("Where?", tools=[offered])
    assert refused.value.param == "tools.f.format.definition"
    assert llm.chat("Hi", params=LONG, tools=[offered], tool_choice="none").finish_reason


def test_any_object_will_do_for_a_function_without_a_schema(llm):
    params = SamplingParams(temperature=0, max_tokens=200, logit_bias={93: 100.0})
    reply = llm.chat("Go", params=params, tools=[tool(None)], tool_choice="f")
    for call in reply.tool_calls:
        assert isinstance(json.loads(call.arguments), dict)


def test_a_strict_schema_that_cannot_be_honoured_is_refused_with_its_place(llm):
    with pytest.raises(RequestError) as refused:
        llm.chat("Where?", tools=[tool(HOSTILE, strict=True)])
    assert refused.value.code == "invalid_json_schema"
    assert refused.value.param == "tools.f.parameters.properties.a.pattern"
    with pytest.raises(RequestError) as refused:
        llm.chat("Where?", response_format=schema(HOSTILE))
    assert refused.value.param == "response_format.json_schema.schema.properties.a.pattern"


def test_schemas_that_take_too_long_together_are_refused(llm, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_SECONDS", 0.0)
    with pytest.raises(RequestError, match="too long to compile together") as refused:
        llm.chat("Where?", tools=[tool(SCHEMA)])
    assert refused.value.param == "tools"


def test_text_without_a_grammar_is_free(llm):
    offered = FunctionTool(name="f", body="text")
    request = TurnRequest(conversation=llm.conversation("Go", tools=[offered]))
    with Grammars(list, vocab_size=8) as grammars:
        assert shapes.held_bodies(request, grammars) == {}


def test_one_that_is_not_strict_becomes_any_object(llm):
    reply = llm.chat("Where?", params=LONG, tools=[tool(HOSTILE)], tool_choice="none")
    assert reply.finish_reason in ("stop", "length")


def test_a_function_that_may_not_be_called_is_not_compiled(llm):
    tools = [tool(HOSTILE, strict=True)]
    assert llm.chat("Hi", params=LONG, tools=tools, tool_choice="none").finish_reason
