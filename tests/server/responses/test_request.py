import json
from typing import get_args, get_type_hints

import pytest
from openai.types.responses import ResponseCreateParams, ResponseIncludable

from ossia.errors import RequestError
from ossia.server.api.json_body import parse_body
from ossia.server.responses.request import (
    ENCRYPTED,
    CreateRequest,
    Includable,
    refuse_what_is_missing,
)


def parse(**fields):
    form = parse_body(json.dumps({"input": "hi", **fields}).encode(), CreateRequest)
    refuse_what_is_missing(form)
    return form


def refused(**fields):
    with pytest.raises(RequestError) as found:
        parse(**fields)
    return found.value


def test_every_field_of_openais_package_has_its_place():
    documented = {
        name for member in get_args(ResponseCreateParams) for name in get_type_hints(member)
    }
    assert documented <= set(CreateRequest.model_fields)


def test_everything_that_can_be_included_is_known():
    assert set(get_args(ResponseIncludable)) <= set(get_args(Includable))


def test_every_field_may_be_null_but_one_must_say_something():
    empty = {name: None for name in CreateRequest.model_fields}
    assert parse(**{**empty, "input": "hi"}).stores
    found = refused(**empty)
    assert (found.param, found.code) == ("input", "missing_field")


@pytest.mark.parametrize(
    "fields",
    [{"input": []}, {"input": None, "instructions": "Say hi."}, {"input": ""}],
)
def test_an_input_may_be_empty(fields):
    parse(**fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 3}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{}] * 4001}, "input"),
        ({"model": ""}, "model"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"max_tool_calls": True}, "max_tool_calls"),
        ({"store": "no"}, "store"),
        ({"include": ["junk"]}, "include[0]"),
        ({"include": [ENCRYPTED] * 33}, "include"),
        ({"reasoning": {"effort": "vast"}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a b"}}}, "text.format.name"),
        ({"truncation": "middle"}, "truncation"),
        ({"metadata": {str(at): "" for at in range(17)}}, "metadata"),
        ({"stream_options": {"include_obfuscation": "x"}}, "stream_options.include_obfuscation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True, "store": False}, "background"),
        ({"previous_response_id": ""}, "previous_response_id"),
    ],
)
def test_a_fault_is_named_by_its_path(fields, param):
    assert refused(**fields).param == param


def test_only_what_is_known_can_be_asked_about():
    assert parse(include=[ENCRYPTED]).includes(ENCRYPTED)
    assert not parse().includes(ENCRYPTED)
    with pytest.raises(AssertionError):
        parse().includes("junk")
