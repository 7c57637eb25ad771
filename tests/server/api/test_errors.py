"""Exceptions as answers: one shape, and nothing in it that is not the caller's business."""

import json
import logging
import re
from types import MappingProxyType

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, ValidationError

import ossia.errors
from ossia.errors import (
    CheckpointError,
    ContextOverflow,
    MissingExtra,
    OssiaError,
    ProviderBusy,
    ProviderUnavailable,
    RequestError,
    StoreError,
    TurnFailed,
    UnsupportedDevice,
)
from ossia.server.api.errors import (
    Forbidden,
    HttpError,
    NotFound,
    ServerFault,
    TooMany,
    Unauthorized,
    Unavailable,
    WrongForm,
    as_http,
    install,
    is_expected,
    log_failure,
)

SECRET = "sk-local-canary"
EXAMPLES = MappingProxyType(
    {
        CheckpointError: CheckpointError("/models/x/config.json lacks a field"),
        ContextOverflow: ContextOverflow(20, 10),
        MissingExtra: MissingExtra("a grammar", "llguidance", "server"),
        OssiaError: OssiaError("/etc/shadow"),
        RequestError: RequestError("n is 9", param="n", code="unsupported_parameter"),
        ProviderBusy: ProviderBusy("2 requests run already"),
        ProviderUnavailable: ProviderUnavailable("the engine died"),
        StoreError: StoreError("/home/x/ossia.db is locked"),
        TurnFailed: TurnFailed("0xdeadbeef"),
        UnsupportedDevice: UnsupportedDevice("no GPU at 0xdeadbeef"),
    }
)


class Body(BaseModel):
    model_config = ConfigDict(strict=True)
    n: int


@pytest.fixture
def client():
    app = FastAPI()
    install(app)

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise {
            "limit": ContextOverflow(20, 10),
            "file": CheckpointError("/models/x is broken"),
            "own": TooMany("slow down", retry_seconds=7),
            "bug": KeyError(SECRET),
            "wrapped": HTTPException(400),
        }[name]

    @app.get("/wrapped")
    def wrapped() -> None:
        raise HTTPException(400) from WrongForm(413, "body_too_large", "the body is too large")

    @app.post("/body")
    def read(body: Body) -> Body:
        return body

    @app.get("/query")
    def query(limit: int) -> int:
        return limit

    @app.get("/model")
    def model() -> None:
        Body.model_validate({"n": "1"})

    return TestClient(app, raise_server_exceptions=False)


def error_of(answer):
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert not re.search(r"Traceback|0x[0-9a-f]{8}|/models|/etc|canary", answer.text)
    return answer.json()["error"]


def test_every_error_of_the_house_has_an_answer():
    kinds = {kind for kind in vars(ossia.errors).values() if isinstance(kind, type)}
    assert kinds == set(EXAMPLES)
    for kind, error in EXAMPLES.items():
        shown = as_http(error)
        shown_to_the_caller = dict.fromkeys((RequestError, ContextOverflow, MissingExtra), 400)
        shown_to_the_caller |= {ProviderBusy: 429, ProviderUnavailable: 503}
        assert shown.status == shown_to_the_caller.get(kind, 500)
        assert shown.status in (400, 429, 503) or str(error) not in str(shown)


def test_a_busy_or_absent_provider_keeps_its_code_and_says_when_to_come_back():
    busy = as_http(ProviderBusy("2 requests"))
    assert (busy.status, busy.type, busy.code) == (429, "rate_limit_error", "queue_full")
    assert busy.headers["retry-after"] == "1"
    absent = as_http(ProviderUnavailable("it died", code="engine_failed", retry_seconds=60))
    assert (absent.status, absent.type, absent.code) == (503, "server_error", "engine_failed")
    assert absent.headers["retry-after"] == "60"
    assert is_expected(ProviderUnavailable("it died"))
    assert not is_expected(TurnFailed("it failed"))


def test_a_request_error_keeps_its_field_and_code():
    error = as_http(EXAMPLES[RequestError])
    assert (error.type, error.param, error.code) == (
        "invalid_request_error",
        "n",
        "unsupported_parameter",
    )
    assert as_http(EXAMPLES[ContextOverflow]).code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("error", "status", "type", "code"),
    [
        (Unauthorized("no key"), 401, "authentication_error", "invalid_api_key"),
        (Forbidden("no"), 403, "permission_error", "forbidden"),
        (NotFound("none", "response_not_found"), 404, "not_found_error", "response_not_found"),
        (WrongForm(415, "content_type", "?"), 415, "invalid_request_error", "content_type"),
        (TooMany("?", code="queue_full"), 429, "rate_limit_error", "queue_full"),
        (Unavailable("loading"), 503, "server_error", "unavailable"),
        (ServerFault(), 500, "server_error", "server_error"),
    ],
)
def test_the_refusals_of_the_wire_are_what_openai_calls_them(error, status, type, code):
    assert as_http(error) is error
    assert (error.status, error.type, error.code) == (status, type, code)
    assert json.loads(error.body()) == error.object()


def test_what_passes_says_when_to_come_again_and_what_lasts_forbids_it():
    assert TooMany("?", retry_seconds=7).headers == {"retry-after": "7"}
    assert Unavailable("?", retry_seconds=3).headers == {"retry-after": "3"}
    assert ServerFault().headers == {"x-should-retry": "false"}
    assert ServerFault("the engine died", retry=True).headers == {}


def test_a_long_message_is_cut_and_a_lone_surrogate_does_no_harm():
    body = HttpError(400, "invalid_request_error", None, "\ud800" * 5000).body()
    assert json.loads(body)["error"]["message"] == "\ud800" * 2000


def test_pydantic_alone_is_refused_in_our_words():
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"n": "1"})
    error = as_http(caught.value)
    assert (error.status, error.param) == (400, "n")
    assert str(error) == "n is '1'; expected an integer"


def test_the_application_answers_with_error_objects(client):
    assert error_of(client.get("/raise/limit"))["code"] == "context_length_exceeded"
    assert error_of(client.get("/raise/file"))["code"] == "server_error"
    assert client.get("/raise/own").headers["retry-after"] == "7"
    assert error_of(client.post("/body", json={"n": "1"}))["param"] == "n"
    broken = client.post("/body", content=b"{", headers={"content-type": "application/json"})
    assert error_of(broken)["message"].startswith("the body is not valid JSON")
    assert "the body is not JSON;" in error_of(client.post("/body", content=b"{"))["message"]
    assert error_of(client.post("/body"))["code"] == "missing_field"
    assert error_of(client.get("/query?limit=x"))["param"] == "limit"
    assert error_of(client.get("/model"))["param"] == "n"


def test_the_framework_refuses_in_the_same_shape(client):
    assert error_of(client.get("/nowhere"))["code"] == "not_found"
    wrong = client.delete("/body")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"
    assert error_of(wrong)["code"] == "method_not_allowed"
    assert error_of(client.get("/raise/wrapped"))["code"] == "bad_request"
    assert error_of(
        client.post("/body", content=b"\xff", headers={"content-type": "application/json"})
    )


def test_what_the_framework_wrapped_is_unwrapped(client):
    assert client.get("/wrapped").status_code == 413


@pytest.mark.parametrize(("status", "shown"), [(401, 401), (418, 418), (502, 500)])
def test_any_status_of_the_framework_has_an_object(status, shown):
    assert as_http(HTTPException(status, headers={"X-A": "b"})).status == shown


def test_a_bug_is_logged_with_its_places_but_not_its_words(client, caplog):
    with caplog.at_level(logging.ERROR, "ossia.server"):
        answer = client.get("/raise/bug")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"
    [line] = [record.getMessage() for record in caplog.records]
    assert "KeyError" in line
    assert "test_errors.py" in line
    assert "canary" not in line


def test_the_causes_of_a_failure_are_logged_too(caplog):
    def fail():
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error

    with caplog.at_level(logging.ERROR, "ossia.server"), pytest.raises(RuntimeError) as caught:
        fail()
    log_failure(caught.value, "req_1")
    assert re.search(r"req_1.*RuntimeError at .*; from ValueError at ", caplog.text)
    assert "canary" not in caplog.text
