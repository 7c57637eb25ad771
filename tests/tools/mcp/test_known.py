"""What is known of tools outlives the program, or is said to be lost."""

import os
import stat

import pytest

from ossia.errors import StoreError
from ossia.tools.mcp.known import KnownTools


def test_an_unknown_tool_is_not_changed_a_known_one_may_be(tmp_path):
    path = tmp_path / "folder" / "known.json"
    known = KnownTools(path)
    assert not known.is_changed("s.t", "1")
    known.learn({"s.t": "1"})
    again = KnownTools(path)
    assert (again.is_changed("s.t", "1"), again.is_changed("s.t", "2")) == (False, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == [".known.json.lock", "known.json"]


def test_what_another_process_learnt_is_not_forgotten(tmp_path):
    path = tmp_path / "known.json"
    first, second = KnownTools(path), KnownTools(path)
    first.learn({"s.first": "1"})
    second.learn({"s.second": "1"})
    assert second.is_changed("s.first", "2")
    assert KnownTools(path).is_changed("s.first", "2")


def test_what_is_known_already_is_not_written_again(tmp_path):
    known = KnownTools(tmp_path / "known.json")
    known.learn({"s.t": "1"})
    (tmp_path / "known.json").unlink()
    known.learn({"s.t": "1"})
    known.learn({})
    assert os.listdir(tmp_path) == [".known.json.lock"]


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "known.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=r"known\.json .*delete it"):
        KnownTools(path)


def test_a_disk_that_refuses_is_said_so(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    known = KnownTools(tmp_path / "known.json")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="cannot be written: .*No space left"):
        known.learn({"s.t": "1"})
    assert os.listdir(tmp_path) == [".known.json.lock"]
