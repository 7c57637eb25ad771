"""Files are opened only if they are what they should be, and appear whole or not at all."""

import os
import socket
import threading
from contextlib import suppress

import pytest

from ossia.checkpoint.files import (
    inside,
    open_regular,
    parse_json,
    read_json,
    some,
    written_atomically,
)
from ossia.errors import CheckpointError


def test_opens_a_regular_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"abc"


def test_refuses_a_fifo_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(CheckpointError, match="a is a FIFO, not a regular file"):
        open_regular(tmp_path / "a")


def test_refuses_a_fifo_that_took_the_place_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    before = os.stat(tmp_path / "a")
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    with pytest.raises(CheckpointError, match="a is a FIFO"):
        open_regular(tmp_path / "a")


def test_refuses_a_device():
    with pytest.raises(CheckpointError, match="/dev/zero is a device, not a regular file"):
        open_regular("/dev/zero")


def test_refuses_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder, not a regular file"):
        open_regular(tmp_path)


def test_refuses_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a")
        with pytest.raises(CheckpointError, match="a is a socket, not a regular file"):
            open_regular("a")


@pytest.mark.parametrize("name", ["missing", "a\0b", "\ud800"])
def test_a_name_that_leads_nowhere_is_an_error(name, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be opened"):
        open_regular(tmp_path / name)


def test_reads_json_up_to_its_limit_only(tmp_path):
    (tmp_path / "a").write_bytes(b'{"a": 1}')
    assert read_json(tmp_path / "a", 8) == {"a": 1}
    with pytest.raises(CheckpointError, match="larger than 7 bytes"):
        read_json(tmp_path / "a", 7)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"1", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a":1,"a":1}', b'{"\xff":1}'],
)
def test_refuses_json_that_is_not_strict(text):
    with pytest.raises(CheckpointError, match="^here "):
        parse_json(text, "here")


def test_a_key_that_stands_twice_is_named_also_when_deep_inside():
    with pytest.raises(CheckpointError, match="the key 'x' stands twice"):
        parse_json(b'{"a": [{"y": 1, "x": 1, "x": 2}]}', "here")


@pytest.fixture
def cache(tmp_path):
    """A folder as the Hugging Face cache lays it out: links from snapshots to blobs."""
    for name in ("blobs", "snapshots/main/original", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "blobs" / "4f").write_bytes(b"{}")
    (tmp_path / "elsewhere" / "secret").write_bytes(b"{}")
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("snapshots/main", "../../blobs/4f"),
        ("snapshots/main/original", "../../../blobs/4f"),
        ("elsewhere", "secret"),
    ],
)
def test_links_within_the_folder_or_its_cache_are_followed(folder, target, cache):
    (cache / folder / "a").symlink_to(target)
    assert inside(cache / folder, "a").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("snapshots/main", "../../elsewhere/secret"),
        ("snapshots/main", "/etc/passwd"),
        ("elsewhere", "../blobs/4f"),
        ("blobs", "/dev/zero"),
    ],
)
def test_links_that_lead_out_are_refused(folder, target, cache):
    (cache / folder / "a").symlink_to(target)
    with pytest.raises(CheckpointError, match="a is a link that leads out of its folder"):
        inside(cache / folder, "a")


def test_a_link_to_nothing_is_a_missing_file(cache):
    (cache / "blobs" / "a").symlink_to("nothing")
    with pytest.raises(CheckpointError, match="a is missing"):
        inside(cache / "blobs", "a")


def test_a_ring_of_links_is_refused(cache):
    (cache / "blobs" / "a").symlink_to("a")
    with pytest.raises(CheckpointError, match="a cannot be reached"):
        inside(cache / "blobs", "a")


def test_a_file_is_not_there_until_it_is_whole(tmp_path):
    with written_atomically(tmp_path / "a") as file:
        file.write(b"abc")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a"]


def test_the_old_file_stays_when_writing_fails(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with suppress(KeyboardInterrupt), written_atomically(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(CheckpointError, match="a cannot be written: No space left on device"),
        written_atomically(tmp_path / "a") as file,
    ):
        file.write(b"abc")
    assert os.listdir(tmp_path) == []


def test_writing_where_no_folder_is_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(CheckpointError, match="cannot be written: Not a directory"),
        written_atomically(tmp_path / "file" / "a"),
    ):
        pass


def test_two_writers_do_not_share_a_partial_file(tmp_path):
    barrier = threading.Barrier(2)

    def write(content):
        with written_atomically(tmp_path / "a") as file:
            barrier.wait(timeout=10)
            file.write(content)

    threads = [threading.Thread(target=write, args=[letter * 9]) for letter in (b"x", b"y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in (b"x" * 9, b"y" * 9)
    assert os.listdir(tmp_path) == ["a"]


def test_a_long_list_of_names_is_cut():
    assert some(["b", "a"]) == "'a', 'b'"
    assert some("edcba") == "'a', 'b', 'c' and 2 more"
