"""Keys: shown once, kept as hashes in a private file, gone at once when revoked."""

import hmac
import json
import logging
import os
import stat
import threading
from hashlib import sha256

import pytest

from ossia.errors import RequestError
from ossia.store import api_keys as module
from ossia.store.api_keys import SCOPES, Key, KeyFile, KeyRing, open_keys

SECRET = "operator-chose-this"


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "private" / "keys.json")


def touch(file, text):
    """Write what this project never would, as privately as it would."""
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_text(text)
    file.path.chmod(0o600)


def test_a_new_key_opens_and_its_secret_is_kept_nowhere(file):
    secret = file.add("laptop", expires_at=None)
    assert secret.startswith("sk-local-")
    assert len(secret) == len("sk-local-") + 43
    assert secret not in file.path.read_text()
    [key] = file.keys()
    assert (key.name, key.scopes, key.expires_at) == ("laptop", ("infer", "tools"), None)
    assert key.sha256 == sha256(secret.encode()).hexdigest()
    assert KeyRing((), file).find(secret.encode()) == key


def test_two_keys_are_not_alike(file):
    first, second = (file.add(name, expires_at=None) for name in ("a", "b"))
    assert first != second
    a, b = file.keys()
    assert a.owner != b.owner
    assert a.owner.startswith("key_")
    assert a.sha256[:16] not in a.owner


def test_the_file_and_its_folder_are_private(file):
    before = os.umask(0)
    try:
        file.add("a", expires_at=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert {path.name for path in file.path.parent.iterdir()} == {"keys.json", ".keys.json.lock"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_use_is_refused(file, mode):
    file.add("a", expires_at=None)
    file.path.chmod(mode)
    with pytest.raises(RequestError, match="run: chmod 600"):
        KeyRing((), file)


def test_a_link_or_a_folder_is_no_file_of_keys(file, tmp_path):
    file.add("a", expires_at=None)
    (tmp_path / "link").symlink_to(file.path)
    with pytest.raises(RequestError, match="cannot be read"):
        KeyFile(tmp_path / "link").keys()
    with pytest.raises(RequestError, match="cannot be read: Is a directory"):
        KeyFile(tmp_path).keys()
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(RequestError, match="not a regular file"):
        KeyFile(tmp_path / "fifo").keys()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"keys": 5}', '{"keys": [5]}', '{"keys": [{}]}',
        '{"keys": [{"name": "a", "scopes": ["infer"]}]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(file, text):
    touch(file, text)
    with pytest.raises(RequestError, match="not a key file"):
        file.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a b"}, {"name": "-a"}, {"sha256": "00"}, {"sha256": "G" * 64},
        {"scopes": []}, {"scopes": ["root"]}, {"created_at": 1.5}, {"created_at": -1},
        {"expires_at": True}, {"expires_at": 1 << 41}, {"extra": 1}, {"owner": "key_other"},
    ],
)  # fmt: skip
def test_a_key_with_a_wrong_field_is_refused(file, wrong):
    good = {"name": "a", "sha256": "0" * 64, "scopes": ["infer"], "created_at": 1}
    touch(file, json.dumps({"keys": [good]}))
    assert len(file.keys()) == 1
    touch(file, json.dumps({"keys": [good | wrong]}))
    with pytest.raises(RequestError, match="not a key file"):
        file.keys()


def test_a_name_is_given_once(file):
    file.add("a", expires_at=None)
    with pytest.raises(RequestError, match="there is a key 'a' already"):
        file.add("a", expires_at=None)


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at"),
    [("a b", SCOPES, None), ("a", ("root",), None), ("a", (), None), ("a", SCOPES, -1)],
)
def test_what_no_key_can_be_is_refused(file, name, scopes, expires_at):
    with pytest.raises(RequestError, match="cannot be made"):
        file.add(name, scopes=scopes, expires_at=expires_at)
    assert file.keys() == ()


def test_there_are_only_so_many_keys(file, monkeypatch):
    monkeypatch.setattr(module, "_MAX_KEYS", 1)
    file.add("a", expires_at=None)
    with pytest.raises(RequestError, match="the most there can be"):
        file.add("b", expires_at=None)


def test_revoking_what_is_not_there_is_refused(file):
    file.add("a", expires_at=None)
    with pytest.raises(RequestError, match="there is no key 'b'"):
        file.revoke("b")


def test_keys_made_at_once_are_all_kept(file):
    makers = [threading.Thread(target=file.add, args=(f"k{n}",), kwargs={"expires_at": None})
              for n in range(8)]  # fmt: skip
    for each in makers:
        each.start()
    for each in makers:
        each.join()
    stored_keys = file.keys()
    assert {key.name for key in stored_keys} == {f"k{n}" for n in range(8)}


def test_a_full_disk_leaves_the_keys_as_they_were(file, monkeypatch):
    file.add("a", expires_at=None)
    before = file.path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(RequestError, match="cannot be written: No space left"):
        file.add("b", expires_at=None)
    assert file.path.read_bytes() == before
    assert len(list(file.path.parent.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be made"):
        KeyFile(tmp_path / "file" / "keys.json").add("a", expires_at=None)


def test_a_running_server_notices_a_new_key_and_a_revoked_one(file):
    ring = KeyRing((), file)
    assert not ring.required
    secret = file.add("a", expires_at=None).encode()
    assert ring.required
    assert ring.find(secret).name == "a"
    file.revoke("a")
    assert ring.find(secret) is None
    assert ring.required, "revoking the last key must not open the door"


def test_removing_the_file_opens_no_door(file):
    secret = file.add("a", expires_at=None).encode()
    ring = KeyRing((), file)
    file.path.unlink()
    assert ring.find(secret) is None
    assert ring.required


def test_a_file_spoilt_while_serving_lets_nobody_in(file, caplog):
    secret = file.add("a", expires_at=None).encode()
    ring = open_keys({"OSSIA_API_KEY": SECRET}, file.path)
    touch(file, "{")
    with caplog.at_level(logging.ERROR, "ossia.server"):
        assert ring.find(secret) is None
        assert ring.find(secret) is None
    assert len(caplog.records) == 1
    assert ring.find(SECRET.encode()) is not None


def test_a_key_ends_at_its_time():
    key = Key(name="a", sha256="0" * 64, scopes=("infer",), created_at=0, expires_at=100)
    assert not key.expired(99.9)
    assert key.expired(100)


def test_every_key_is_compared_whichever_is_right(file, monkeypatch):
    """No early end that time could tell: each search compares all digests."""
    secrets = [file.add(name, expires_at=None).encode() for name in "abc"]
    ring = KeyRing((), file)
    compared = []
    same = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or same(a, b))
    for tried in (*secrets, b"wrong", b""):
        compared.clear()
        ring.find(tried)
        assert len(compared) == 3


def test_the_environments_key_leaves_the_environment(tmp_path):
    (tmp_path / "secret").write_text("another-long-secret\n")
    environment = {
        "OSSIA_API_KEY": SECRET,
        "OSSIA_API_KEY_FILE": str(tmp_path / "secret"),
        "HOME": "/",
    }
    ring = open_keys(environment, None)
    assert environment == {"HOME": "/"}
    assert ring.required
    assert ring.find(SECRET.encode()).scopes == SCOPES
    assert ring.find(b"another-long-secret").name == "environment"
    assert ring.find(b"another-long-secret\n") is None


@pytest.mark.parametrize("secret", ["short", "x" * 513, "a key with some spaces", "ключ" * 8])
def test_what_is_no_key_in_the_environment_is_refused_without_saying_it(secret):
    with pytest.raises(RequestError, match="a key has 16 to 512") as refused:
        open_keys({"OSSIA_API_KEY": secret}, None)
    assert secret not in str(refused.value)


def test_an_empty_or_missing_key_file_is_refused(tmp_path):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(RequestError, match="a key has 16 to 512"):
        open_keys({"OSSIA_API_KEY_FILE": str(tmp_path / "empty")}, None)
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        open_keys({"OSSIA_API_KEY_FILE": str(tmp_path / "none")}, None)


def test_an_empty_variable_is_no_key():
    assert not open_keys({"OSSIA_API_KEY": "", "OSSIA_API_KEY_FILE": ""}, None).required


def test_a_key_may_be_asked_for_before_there_is_one():
    ring = open_keys({}, None, required=True)
    assert ring.required
    assert ring.find(b"anything") is None
