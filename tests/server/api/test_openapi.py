"""The document is valid, tells of every body and error, and the routes do as it says."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ossia.engine.options import LoadOptions
from ossia.server import chat_completions, completions, discovery, responses
from ossia.server.api import models
from ossia.server.app import Server, Serving
from ossia.server.http.drain import Drain
from tests.server.scripted import EitherEngine
from tests.server.serving import app_of, listening, services_with

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HELLO = {"model": "nano", "input": "Hello"}
BODIES: Mapping[str, dict[str, Any]] = {
    "/v1/responses": HELLO,
    "/v1/responses/input_tokens": HELLO,
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}], "model": "nano"},
    "/v1/completions": {"model": "nano", "prompt": "Once"},
    "/api/show": {"model": "nano"},
    "/api/pull": {"model": "nano"},
}
"""What makes a body one that has a meaning, whatever else its fields say."""
STREAMS = (
    ("post", "/v1/responses"), ("get", "/v1/responses/{response_id}"),
    ("post", "/v1/chat/completions"), ("post", "/v1/completions"),
)  # fmt: skip
OTHERS = (
    ("get", "/v1/responses/{response_id}"), ("delete", "/v1/responses/{response_id}"),
    ("post", "/v1/responses/{response_id}/cancel"),
    ("get", "/v1/responses/{response_id}/input_items"),
    ("get", "/v1/models"), ("get", "/v1/models/{model}"),
    ("get", "/api/version"), ("get", "/api/tags"),
)  # fmt: skip
POSTS = tuple(("post", path) for path in BODIES)
TYPED = tuple(each for each in OTHERS if each[1].endswith("_items") or each in STREAMS)
"""Of the others, those with a parameter that not every text fits."""
PROBES = ("/health", "/health/live", "/health/ready", "/version", "/metrics", "/debug/tools")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Server(Serving(load_options=LoadOptions(model="nano")), Drain()).app.openapi()


@pytest.fixture(scope="module")
def schema(document: dict[str, Any]) -> BaseSchema:
    return schemathesis.openapi.from_dict(document)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    rooms = (responses, chat_completions, completions, models, discovery)
    with (
        services_with(EitherEngine()) as services,
        listening(app_of(services, *(room.routes for room in rooms))) as at,
    ):
        yield at


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid(schema: BaseSchema) -> None:
    schema.validate()


def test_every_operation_is_tried_here(document: dict[str, Any]) -> None:
    tried = {*OTHERS, *POSTS, *(("get", path) for path in PROBES)}
    assert operations(document).keys() == tried


@pytest.mark.parametrize("path", BODIES)
def test_a_body_is_described_field_by_field(document: dict[str, Any], path: str) -> None:
    body = document["paths"][path]["post"]["requestBody"]
    described = body["content"]["application/json"]["schema"]
    assert body["required"]
    assert "model" in described["properties"]
    assert "$ref" not in str(described)


def test_every_error_is_the_error_object(document: dict[str, Any]) -> None:
    error = document["components"]["schemas"]["ErrorObject"]
    assert set(error["required"]) == {"message", "type", "param", "code"}
    for (_, path), operation in operations(document).items():
        for status in ("400", "401", "404", "429", "503", "default"):
            if status == "503" and path in PROBES:
                continue  # there it is an answer
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}, (path, status)
        assert "422" not in operation["responses"]


@pytest.mark.parametrize(("method", "path"), STREAMS)
def test_what_can_be_streamed_says_so(document: dict[str, Any], method: str, path: str) -> None:
    content = document["paths"][path][method]["responses"]["200"]["content"]
    assert content.keys() == {"application/json", "text/event-stream"}


def test_a_key_is_shown_as_a_bearer_and_may_be_none(document: dict[str, Any]) -> None:
    (key,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][key]["scheme"] == "bearer"
    assert document["security"] == [{key: []}, {}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*each, GenerationMode.POSITIVE) for each in (*POSTS, *OTHERS)),
        *((*each, GenerationMode.NEGATIVE) for each in (*POSTS, *TYPED)),
    ],
)
def test_whatever_is_asked_the_answer_is_one_that_was_declared(
    schema: BaseSchema, address: str, method: str, path: str, mode: GenerationMode
) -> None:
    statuses = set()
    checks = [*CHECKS, *([negative_data_rejection] if mode is GenerationMode.NEGATIVE else [])]

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body = {**case.body, **BODIES[path]}
        statuses.add(case.call_and_validate(base_url=address, checks=checks).status_code)

    check()
    has_success = mode is GenerationMode.POSITIVE and "{" not in path
    assert (200 in statuses) == has_success
