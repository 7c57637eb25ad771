"""The models on this disk."""

import json
import os
import shutil

import pytest


@pytest.fixture
def cached(folder, tmp_path, monkeypatch):
    """One model in the cache of downloads, as its own library lays it out."""
    from huggingface_hub import constants

    hub = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    repo = hub / "models--someone--tiny"
    shutil.copytree(folder, repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    return repo / "snapshots" / "abc"


def test_models_are_listed_by_the_names_that_open_them(ossia, cached):
    found = json.loads(ossia("list", "--json").out)["models"]
    assert [model["name"] for model in found] == ["nano", "someone/tiny"]
    assert found[1]["folder"] == str(cached)
    assert found[1]["tensor_bytes"] > 0
    assert json.loads(ossia("show", "-m", "someone/tiny", "--json").out)["folder"] == str(cached)


def test_people_read_names_sizes_and_folders(ossia, cached):
    line = ossia("list").out.splitlines()[1]
    assert line.split()[0] == "someone/tiny"
    assert line.split()[2] == "kB"
    assert line.endswith(str(cached))


def test_a_broken_model_is_listed_with_its_fault(ossia, cached):
    os.truncate(cached / "model.safetensors", 1000)
    ran = ossia("list")
    assert ran.code == 0
    assert "someone/tiny" in ran.out
    assert "cannot be opened: " in ran.out.splitlines()[1]
