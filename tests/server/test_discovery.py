"""Programs that look for Ollama find the model, its size and what it can do; nothing is fetched."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx2
import pytest

from ossia import __version__
from ossia.server import discovery
from tests.server.scripted import ScriptedEngine, served_model
from tests.server.serving import app_of, listening, services_with

NAME = "openai/gpt-oss-20b"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    engine = ScriptedEngine(
        model=served_model(name=NAME, num_params=20_914_757_184, context_length=131_072)
    )
    with (
        services_with(engine) as services,
        listening(app_of(services, discovery.routes)) as address,
        httpx2.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_the_version_is_one_that_codex_takes(client: httpx2.Client) -> None:
    content = client.get("/api/version").json()
    assert [int(part) for part in content["version"].split(".")] >= [0, 13, 4]
    assert content["ossia"] == __version__


def test_the_model_is_listed(client: httpx2.Client) -> None:
    (model,) = client.get("/api/tags").json()["models"]
    assert (model["name"], model["model"], model["size"]) == (NAME, NAME, 5_000_000)
    assert len(bytes.fromhex(model["digest"])) == 32
    assert datetime.fromisoformat(model["modified_at"]).year == 2026
    assert model["details"]["parameter_size"] == "20.9B"
    assert model["details"]["family"] == "gptoss"


@pytest.mark.parametrize(("count", "text"), [(999, "999"), (1500, "1.5K"), (3_140_000, "3.1M")])
def test_a_size_is_said_shortly(count: int, text: str) -> None:
    engine = ScriptedEngine(model=served_model(num_params=count))
    with (
        services_with(engine) as services,
        listening(app_of(services, discovery.routes)) as address,
        httpx2.Client(base_url=address, trust_env=False) as client,
    ):
        (model,) = client.get("/api/tags").json()["models"]
    assert model["details"]["parameter_size"] == text


@pytest.mark.parametrize("body", [{"model": NAME}, {"name": "gpt-oss:20b", "verbose": True}])
def test_the_model_is_shown(client: httpx2.Client, body: dict[str, Any]) -> None:
    content = client.post("/api/show", json=body).json()
    assert content["model_info"]["gptoss.context_length"] == 131_072
    assert content["capabilities"] == ["completion", "tools", "thinking"]


def test_a_pull_of_what_is_here_has_succeeded(client: httpx2.Client) -> None:
    streamed = client.post("/api/pull", json={"model": "gpt-oss:20b", "stream": True})
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert streamed.text == '{"status":"success"}\n'
    whole = client.post("/api/pull", json={"model": NAME, "stream": False})
    assert whole.json() == {"status": "success"}


@pytest.mark.parametrize("path", ["/api/show", "/api/pull"])
@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "llama"}, 404, "model"),
        ({}, 400, "model"),
        ({"model": 5}, 400, "model"),
        ({"model": ""}, 400, "model"),
        ({"model": NAME, "stream": "no"}, 400, "stream"),
    ],
)
def test_what_is_not_here_or_not_asked_well_is_refused(
    client: httpx2.Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answered = client.post(path, json=body)
    assert answered.status_code == status
    assert answered.json()["error"]["param"] == param
