"""What is wrong with a request, said with the path OpenAI would write."""

import re
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ossia.server.api.validation import found, refusal, written


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Part(Strict):
    text: str


class UserMessage(Strict):
    type: Literal["message"]
    role: Literal["user", "assistant"]
    content: str | list[Part]


class Named(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z]+$", max_length=8)]


class Function(Strict):
    type: Literal["function"]
    function: Named


class ExampleRequest(Strict):
    input: str | list[Annotated[UserMessage | Function, Field(discriminator="type")]] = ""
    n: Annotated[int, Field(ge=1, le=8)] = 1
    heat: Annotated[float, Field(gt=0, lt=2, allow_inf_nan=False)] = 1.0
    stop: Annotated[list[str], Field(max_length=2)] = []
    metadata: dict[str, Annotated[str, Field(max_length=3)]] = {}
    pair: tuple[int, int] | None = None
    model: str

    @field_validator("model")
    @classmethod
    def known(cls, name: str) -> str:
        if name != "nano":
            raise ValueError(f"there is no model {name!r}; there is nano")
        return name


def refused(document):
    with pytest.raises(ValidationError) as caught:
        ExampleRequest.model_validate(document)
    return refusal(caught.value.errors(), document)


FUNCTION = {"type": "function", "function": {"name": "look"}}
MESSAGE = {"type": "message", "role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("wrong", "param", "code", "words"),
    [
        ({"n": 9}, "n", "invalid_value", "n is 9; expected a number of at most 8"),
        ({"n": True}, "n", "invalid_value", "n is true; expected an integer"),
        ({"n": 1.5}, "n", "invalid_value", "n is 1.5; expected an integer"),
        ({"n": 10**5000}, "n", "invalid_value", "n is an integer of too many digits; expected"),
        ({"n": None}, "n", "invalid_value", "n is null; expected an integer"),
        ({"heat": float("nan")}, "heat", "invalid_value", "heat is nan; expected a finite number"),
        ({"heat": 3.0}, "heat", "invalid_value", "expected a number below 2"),
        ({"stop": ["a", "b", "c"]}, "stop", "invalid_value", "a list of 3 items; expected at most"),
        ({"stop": [1]}, "stop[0]", "invalid_value", "stop[0] is 1; expected a string"),
        ({"metadata": {"a": "long"}}, "metadata.a", "invalid_value", "at most 3 characters"),
        ({"metadata": []}, "metadata", "invalid_value", "a list of 0 items; expected an object"),
        ({"pair": (1, "2")}, "pair[1]", "invalid_value", "pair[1] is '2'; expected an integer"),
        ({"extra": 1}, "extra", "unsupported_parameter", "extra is not a field of this request"),
        ({"model": "gpt"}, "model", "invalid_value", "model: there is no model 'gpt'; there is"),
        ({"input": 5}, "input", "invalid_value", "input is 5; expected a string or a list"),
        ({"input": [5]}, "input[0]", "invalid_value", "input[0] is 5; expected an object"),
        ({"input": [{}]}, "input[0]", "invalid_value", "expected an object with 'type'"),
        ({"input": [{"type": "x"}]}, "input[0]", "invalid_value", "'message', 'function'"),
        (
            {"input": [MESSAGE | {"role": "x"}]},
            "input[0].role",
            "invalid_value",
            "input[0].role is 'x'; expected 'user' or 'assistant'",
        ),
        (
            {"input": [MESSAGE, MESSAGE | {"content": [{"text": 1}]}]},
            "input[1].content[0].text",
            "invalid_value",
            "is 1; expected a string",
        ),
        (
            {"input": [MESSAGE | {"content": {}}]},
            "input[0].content",
            "invalid_value",
            "is an object; expected a string or a list",
        ),
        ({"input": [{"type": "function"}]}, "input[0].function", "missing_field", "is missing"),
        (
            {"input": [FUNCTION | {"function": {}}]},
            "input[0].function.name",
            "missing_field",
            "input[0].function.name is missing; add it",
        ),
        (
            {"input": [FUNCTION | {"function": {"name": "A"}}]},
            "input[0].function.name",
            "invalid_value",
            "is 'A'; expected a string that matches",
        ),
        (
            {"input": [FUNCTION | {"function": {"name": "a" * 50}}]},
            "input[0].function.name",
            "invalid_value",
            "is a string of 50 characters; expected a string of at most 8 characters",
        ),
    ],
)
def test_a_fault_is_named_by_its_path_with_what_was_found_and_expected(wrong, param, code, words):
    error = refused({"model": "nano"} | wrong)
    assert error.param == param
    assert error.code == code
    assert words in str(error)


def test_a_field_named_like_the_label_of_its_union_is_still_found():
    error = refused({"model": "nano", "input": [{"type": "function", "function": 5}]})
    assert error.param == "input[0].function"


def test_a_missing_field_of_the_body_is_named():
    error = refused({})
    assert (error.param, error.code) == ("model", "missing_field")


def test_a_body_of_another_kind_has_no_path():
    error = refused([1])
    assert error.param is None
    assert str(error) == "the body is a list of 1 items; expected an object"


def test_of_several_faults_the_deepest_is_said():
    error = refused({"model": "nano", "n": 9, "input": [MESSAGE | {"role": 1}]})
    assert error.param == "input[0].role"


def test_without_the_document_the_path_leaves_out_what_looks_like_a_label():
    with pytest.raises(ValidationError) as caught:
        ExampleRequest.model_validate({"model": "nano", "input": 5})
    assert refusal(caught.value.errors(), None).param == "input"


def test_broken_json_is_called_so():
    error = refusal([{"type": "json_invalid", "loc": (17,), "input": {}, "ctx": {}}], "{")
    assert error.param is None
    assert "not valid JSON" in str(error)


def test_a_body_that_is_not_there_is_missing():
    error = refusal([{"type": "missing", "loc": (), "input": None}], {})
    assert (str(error), error.code) == ("the body is missing; add it", "missing_field")


def test_a_fault_without_a_word_of_ours_is_still_an_answer():
    error = refusal([{"type": "date_type", "loc": ("a",), "input": object()}], {"a": 1})
    assert str(error) == "a is an object; expected another value"


@settings(max_examples=50)
@given(st.lists(st.one_of(st.integers(0, 99), st.from_regex(r"[a-z_]{1,9}", fullmatch=True))))
def test_a_path_is_written_as_openai_writes_it(parts):
    text = written(tuple(parts))
    assert len(text) <= 200
    if parts and isinstance(parts[0], str) and len(text) < 200:
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+|\[\d+\])*", text)


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists))
def test_what_was_found_is_said_shortly(value):
    assert 0 < len(found(value)) <= 250


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "input", "model", "content", "role", "n"]),
            inner | st.sampled_from(["message", "function", "user"]),
            max_size=4,
        )
    ),
)


@settings(max_examples=60)
@given(JSON)
def test_whatever_is_sent_the_path_leads_into_what_was_sent(document):
    try:
        ExampleRequest.model_validate(document)
    except ValidationError as error:
        refused_path = refusal(error.errors(), document)
        parts = re.findall(r"[a-z_]+|\d+", refused_path.param or "")
        if refused_path.code == "missing_field":
            parts = parts[:-1]
        for part in parts:
            document = document[int(part) if part.isdigit() else part]


def test_a_query_that_cannot_be_read_says_what_is_expected() -> None:
    class Query(BaseModel):  # as text, so not strict
        limit: int = 1
        stream: bool = False

    for query, message in (
        ({"limit": "x"}, "limit is 'x'; expected an integer"),
        ({"stream": "x"}, "stream is 'x'; expected true or false"),
    ):
        with pytest.raises(ValidationError) as caught:
            Query.model_validate(query)
        assert str(refusal(caught.value.errors(), query)) == message
