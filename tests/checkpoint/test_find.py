import json
from pathlib import Path

import pytest

from ossia.checkpoint.find import find_model, models_on_disk, prepared_folder
from ossia.errors import CheckpointError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A Hugging Face cache with a gpt-oss model, another model, and half a download."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name, config in (
        ("models--openai--gpt-oss-20b", {"model_type": "gpt_oss"}),
        ("models--someone--other", {"model_type": "llama"}),
        ("models--someone--broken", None),
        ("models--someone--list", []),
    ):
        snapshot = tmp_path / name / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (tmp_path / name / "refs").mkdir()
        (tmp_path / name / "refs" / "main").write_text("abc")
        if config is not None:
            (snapshot / "config.json").write_text(json.dumps(config))
    (tmp_path / "models--someone--empty").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["openai/gpt-oss-20b", "gpt-oss-20b"])
def test_a_downloaded_model_is_found_by_its_hub_name(cache, name):
    assert find_model(name) == cache / "models--openai--gpt-oss-20b" / "snapshots" / "abc"


def test_a_folder_is_found_by_its_path(tmp_path):
    assert find_model(str(tmp_path)) == tmp_path


def test_the_embedded_model_comes_first_in_the_list(cache):
    assert [found.name for found in models_on_disk()] == ["nano", "openai/gpt-oss-20b"]


def test_a_model_not_downloaded_says_how_to_get_it(cache):
    with pytest.raises(CheckpointError, match="hf download openai/gpt-oss-120b"):
        find_model("gpt-oss-120b")


@pytest.mark.parametrize("name", ["./not/here", "/not/here", "~/not/here"])
def test_a_folder_that_is_not_there_is_called_a_folder(cache, name):
    with pytest.raises(CheckpointError, match=f"there is no folder {name}; .* hf download"):
        find_model(name)


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "someone/other/"])
def test_what_is_no_model_is_refused(cache, name):
    with pytest.raises(CheckpointError, match="no model is called"):
        find_model(name)


def test_prepared_weights_are_where_the_user_wants_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("OSSIA_HOME", raising=False)
    assert prepared_folder().name == "ossia"
    monkeypatch.setenv("OSSIA_HOME", "~/mine")
    assert prepared_folder() == Path.home() / "mine" / "cache"
    assert prepared_folder("~/other") == Path.home() / "other"
