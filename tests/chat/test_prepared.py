"""A model opened from prepared weights is the same model."""

import os

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia import LLM, OpsOptions
from ossia.checkpoint import write_checkpoint
from ossia.checkpoint.prepared import prepared_files
from ossia.model import loading

IDS = [1, 2, 3, 500, 7]
TILED = OpsOptions(weights="int8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model that is worth a file."""
    monkeypatch.setattr(loading, "SMALLEST_FILE", 0)
    write_checkpoint(tmp_path / "p", SHAPES["tiny"], random_tensors(SHAPES["tiny"], 0), "original")
    return tmp_path / "p"


def logits(folder, prepared, **other):
    with LLM(str(folder), ops=TILED, prepared=prepared, **other) as llm:
        return llm.logits(IDS), llm.notices


def test_logits_are_the_same_bits_with_and_without_a_file(folder, tmp_path):
    anew, _ = logits(folder, None)
    for _ in ("written", "mapped"):
        from_file, notices = logits(folder, tmp_path / "prepared")
        np.testing.assert_array_equal(from_file, anew)
        assert notices == ()
    assert len(prepared_files(tmp_path / "prepared")) == 1


def test_a_damaged_file_is_told_and_changes_nothing(folder, tmp_path):
    anew, _ = logits(folder, tmp_path / "prepared")
    (path,) = prepared_files(tmp_path / "prepared")
    os.truncate(path, 100_000)
    again, notices = logits(folder, tmp_path / "prepared")
    np.testing.assert_array_equal(again, anew)
    assert len(notices) == 1


def test_unless_told_the_file_is_in_the_cache_of_the_user(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path / "home"))
    logits(folder, "auto")
    assert len(prepared_files(tmp_path / "home" / "cache")) == 1
    monkeypatch.delenv("OSSIA_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    logits(folder, "auto")
    assert len(prepared_files(tmp_path / "system" / "ossia")) == 1


def test_exact_weights_need_no_file(folder, tmp_path):
    with LLM(str(folder), ops=OpsOptions(weights="bf16"), prepared=tmp_path / "prepared"):
        assert not (tmp_path / "prepared").exists()


def test_nano_gets_no_file(tmp_path):
    with LLM("nano", ops=TILED, prepared=tmp_path / "prepared") as llm:
        assert llm.notices == ()
    assert not (tmp_path / "prepared").exists()
