"""What comes as bytes is one JSON object of a known form, or a 400 that says where it is not."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from ossia.errors import RequestError
from ossia.server.api.fields import Form, JsonObject, LogitBias
from ossia.server.api.json_body import (
    MAX_DEPTH,
    MAX_OBJECTS,
    documented,
    in_thread_if_large,
    parse_body,
    read_form,
)


class Inner(Form):
    number: int


class Wanted(Form):
    text: str | None = None
    counts: LogitBias | None = None
    inner: Inner | None = None
    items: list[Inner] | None = None
    free: JsonObject | None = None


def refused(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_body(body, Wanted)
    return caught.value


def nested(depth: int) -> bytes:
    """An object that holds lists, `depth` levels in all."""
    return b'{"free":' + b'{"a":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"


def test_an_object_of_the_form_is_read() -> None:
    wanted = parse_body(b'{"text": "\xc3\xa9", "inner": {"number": 3}, "free": null}', Wanted)
    assert (wanted.text, wanted.inner, wanted.free) == ("é", Inner(number=3), None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"[]", "a list"),
        (b"7", "7"),
        (b'"x"', "'x'"),
        (b"null", "null"),
        (b"{", "not JSON at character 1"),
        (b"{} {}", "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b'{"free": {"a": NaN}}', "NaN"),
        (b'{"free": {"a": -Infinity}}', "-Infinity"),
        (b'{"free": {"a": 1e999}}', "1e999"),
        (b'{"free": {"a": ' + b"7" * 5000 + b"}}", "5000 digits"),
        (b'{"text": "a", "text": "b"}', "'text' twice"),
        (b'{"free": {"a": 1, "b": 2, "b": 3}}', "'b' twice"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(body: bytes, says: str) -> None:
    assert says in str(refused(body))


@pytest.mark.parametrize("depth", [100, 400, 100_000])
@pytest.mark.parametrize(("opener", "closer"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_too_many_levels_are_refused_at_once(opener: bytes, closer: bytes, depth: int) -> None:
    started = time.monotonic()
    body = b'{"free":' + opener * depth + b"1" + closer * depth + b"}"
    assert "nested too deep" in str(refused(body))
    assert time.monotonic() - started < 1


def test_as_many_levels_as_are_read_and_one_more() -> None:
    parse_body(nested(MAX_DEPTH), Wanted)
    assert "nested too deep" in str(refused(nested(MAX_DEPTH + 1)))


def test_more_objects_than_any_request_needs_are_refused() -> None:
    body = b'{"free": {"a": [' + b"{}," * MAX_OBJECTS + b"{}]}}"
    assert "objects" in str(refused(body))


@pytest.mark.parametrize(
    ("document", "param"),
    [
        (rb'{"free": {"a": ["x", "\ud800"]}}', "free.a[1]"),
        (rb'{"free": {"a": {"b\uDFFF": 1}}}', "free.a"),
        (rb'{"\udc00": 1}', None),
    ],
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(
    document: bytes, param: str | None
) -> None:
    error = refused(document)
    assert "surrogate" in str(error)
    assert error.param == param


def test_an_escaped_pair_is_one_character() -> None:
    assert parse_body(rb'{"text": "\ud83d\ude00"}', Wanted).text == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("document", "param", "code"),
    [
        ({"text": 5}, "text", "invalid_value"),
        ({"inner": {"number": "5"}}, "inner.number", "invalid_value"),
        ({"items": [{"number": 1}, {"number": True}]}, "items[1].number", "invalid_value"),
        ({"items": [{}]}, "items[0].number", "missing_field"),
        ({"free": []}, "free", "invalid_value"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(
    document: dict[str, Any], param: str, code: str
) -> None:
    error = refused(json.dumps(document).encode())
    assert (error.param, error.code) == (param, code)


def outcome(body: bytes) -> str:
    """What was read, or why not; anything else is raised."""
    try:
        return repr(parse_body(body, Wanted))
    except RequestError as error:
        return str(error)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert outcome(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "number", ""]), inner),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Wanted.model_fields, JSON)))
def test_any_fields_are_read_or_refused(document: dict[str, Any]) -> None:
    assert outcome(json.dumps(document).encode())


def request_of(body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@pytest.mark.parametrize("length", [3, 1 << 17])
def test_a_form_is_read_from_a_request_whatever_its_size(length: int) -> None:
    body = json.dumps({"text": "a" * length}).encode()
    wanted = asyncio.run(read_form(request_of(body), Wanted))
    assert wanted.text == "a" * length


@pytest.mark.parametrize("is_heavy", [False, True])
def test_heavy_work_leaves_the_event_loops_thread(is_heavy: bool) -> None:
    here = threading.get_ident()
    there = asyncio.run(in_thread_if_large(is_heavy, threading.get_ident))
    assert (there != here) is is_heavy


def test_the_documented_form_refers_to_nothing_outside_itself() -> None:
    schema = documented(Wanted)["requestBody"]["content"]["application/json"]["schema"]
    written = json.dumps(schema)
    assert "$ref" not in written
    assert "$defs" not in written
    assert schema["properties"]["items"]["anyOf"][0]["items"]["required"] == ["number"]
    assert schema["properties"]["counts"]["anyOf"][0]["additionalProperties"] is False
