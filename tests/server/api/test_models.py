"""One model has one public name, several that mean it, and a catalogue entry that Codex takes."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from openai import InternalServerError, NotFoundError, OpenAI

from ossia.errors import ProviderUnavailable
from ossia.server.api import models
from ossia.server.api.errors import NotFound
from ossia.server.api.models import catalogue_entry, named, public_name
from tests.server.scripted import ScriptedEngine, served_model
from tests.server.serving import client_of


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("nano", "nano"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b"),
        ("/home/ann/models/gpt-oss-20b", "gpt-oss-20b"),
        ("/home/ann/models/gpt-oss-20b/", "gpt-oss-20b"),
        ("./gpt-oss", "gpt-oss"),
        ("../a/b", "b"),
        (r"C:\models\gpt-oss", "gpt-oss"),
        ("models/a/b", "b"),
        ("/", "model"),
        ("nano\n", "nano\n"),
    ],
)
def test_a_folders_path_is_private(name: str, public: str) -> None:
    assert public_name(served_model(name=name)) == public


@pytest.mark.parametrize(
    "requested",
    [
        None,
        "openai/gpt-oss-20b",
        "gpt-oss-20b",
        "gpt-oss:20b",
        "GPT-OSS-20B",
        "gpt-oss-20b:latest",
    ],
)
def test_a_model_is_known_by_every_usual_name(requested: str | None) -> None:
    assert named(requested, served_model(name="openai/gpt-oss-20b")) == "openai/gpt-oss-20b"


def test_a_folder_is_known_by_its_path_to_those_who_know_it() -> None:
    assert named("/m/gpt-oss-20b", served_model(name="/m/gpt-oss-20b")) == "gpt-oss-20b"


@pytest.mark.parametrize("requested", ["gpt-4", "", "gpt-oss-120b", "gpt-oss-20b-x", "x" * 1000])
def test_another_model_is_not_found(requested: str) -> None:
    with pytest.raises(NotFound) as caught:
        named(requested, served_model(name="openai/gpt-oss-20b"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert len(str(caught.value)) < 300


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    engine = ScriptedEngine(model=served_model(name="openai/gpt-oss-20b"))
    with client_of(engine, models.routes) as client:
        yield client


def test_the_list_holds_the_model(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.created) == ("openai/gpt-oss-20b", "model", 1_795_219_200)
    assert model.owned_by == "ossia"


def test_one_model_by_its_names(client: OpenAI) -> None:
    for name in ("openai/gpt-oss-20b", "gpt-oss:20b"):
        assert client.models.retrieve(name).id == "openai/gpt-oss-20b"
    with pytest.raises(NotFoundError):
        client.models.retrieve("gpt-4")


def test_codex_finds_its_catalogue_beside_openais_list(client: OpenAI) -> None:
    with urlopen(f"{client.base_url}models") as answered:
        content = json.load(answered)
    assert content["object"] == "list"
    assert content["models"] == [catalogue_entry(served_model(name="openai/gpt-oss-20b"))]


ENTRY: dict[str, Any] = {
    "slug": str,
    "display_name": str,
    "description": str,
    "default_reasoning_level": {"none", "minimal", "low", "medium", "high", "xhigh"},
    "supported_reasoning_levels": list,
    "shell_type": {"default", "local", "unified_exec", "disabled", "shell_command"},
    "visibility": {"list", "hide", "none"},
    "supported_in_api": bool,
    "priority": int,
    "upgrade": type(None),
    "base_instructions": str,
    "supports_reasoning_summaries": bool,
    "support_verbosity": bool,
    "default_verbosity": type(None),
    "apply_patch_tool_type": {"freeform"},
    "truncation_policy": dict,
    "supports_parallel_tool_calls": bool,
    "experimental_supported_tools": list,
    "context_window": int,
    "input_modalities": list,
}
"""Each field Codex reads of an entry: its type, or the words it knows."""


def test_an_entry_has_every_field_codex_needs_in_its_type() -> None:
    entry = catalogue_entry(served_model())
    assert entry.keys() == ENTRY.keys()
    for name, expected in ENTRY.items():
        if isinstance(expected, set):
            assert entry[name] in expected
        else:
            assert type(entry[name]) is expected
    assert entry["truncation_policy"] == {"mode": "tokens", "limit": 10_000}
    assert entry["input_modalities"] == ["text"]
    for level in entry["supported_reasoning_levels"]:
        assert level.keys() == {"effort", "description"}
        assert level["effort"] in ENTRY["default_reasoning_level"]


class Unopened(ScriptedEngine):
    """An engine whose model is still being read."""

    @property
    def model(self) -> Any:
        raise ProviderUnavailable("the model is being opened", code="loading")

    @model.setter
    def model(self, value: Any) -> None:
        pass


def test_while_the_model_is_opened_there_is_nothing_to_list() -> None:
    with client_of(Unopened(), models.routes) as client:
        with pytest.raises(InternalServerError) as caught:
            client.models.list()
        assert (caught.value.status_code, caught.value.code) == (503, "loading")
