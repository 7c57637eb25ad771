"""Keys from the command line: shown once, listed without their secret, gone when revoked."""

import json
import stat
import time

import pytest
import typer

from ossia.cli.commands.keys import duration, key_file, known_scope
from ossia.store.api_keys import SCOPES, KeyFile, KeyRing


def test_a_new_key_is_all_that_is_written_and_it_opens(ossia):
    ran = ossia("keys", "add", "laptop")
    assert ran.code == 0
    secret = ran.out.removesuffix("\n")
    assert secret.startswith("sk-local-")
    assert "shown only now" in ran.err
    key = KeyRing((), KeyFile(key_file())).find(secret.encode())
    assert (key.name, key.scopes) == ("laptop", ("infer", "tools"))
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600


def test_a_key_has_the_scopes_and_the_end_it_is_given(ossia):
    args = ("--scope", "admin", "--scope", "infer", "--expires", "30d", "--json")
    key_json = json.loads(ossia("keys", "add", "box", *args).out)
    assert key_json["scopes"] == ["admin", "infer"]
    assert abs(key_json["expires_at"] - time.time() - 30 * 86400) < 60
    [key] = KeyFile(key_file()).keys()
    assert (key.scopes, key.expires_at) == (("admin", "infer"), key_json["expires_at"])


def test_the_list_has_no_secret(ossia):
    secrets = [ossia("keys", "add", name).out.strip() for name in ("laptop", "phone")]
    KeyFile(key_file()).add("old", expires_at=1)
    shown = ossia("keys").out
    assert [line.split()[0] for line in shown.splitlines()] == ["NAME", "laptop", "phone", "old"]
    assert shown.splitlines()[1].endswith("never")
    assert shown.splitlines()[3].endswith(", expired")
    listed = json.loads(ossia("keys", "list", "--json").out)["keys"]
    assert [key["expired"] for key in listed] == [False, False, True]
    assert set(listed[0]) == {"name", "scopes", "created_at", "expires_at", "expired"}
    assert not any(secret in shown + json.dumps(listed) for secret in secrets)


def test_where_there_are_none_it_says_how_to_make_one(ossia):
    ran = ossia("keys", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "make one: ossia keys add NAME" in ran.err
    assert json.loads(ossia("keys", "--json").out) == {"keys": []}


def test_a_revoked_key_is_gone(ossia):
    ossia("keys", "add", "a")
    assert ossia("keys", "revoke", "a").out == "a is revoked\n"
    assert KeyFile(key_file()).keys() == ()
    ossia("keys", "add", "a")
    assert json.loads(ossia("keys", "revoke", "a", "--json").out) == {"revoked": "a"}


@pytest.mark.parametrize(
    ("args", "code", "found"),
    [
        (["add"], 2, "add needs the name of a key"),
        (["revoke"], 2, "revoke needs the name of a key"),
        (["list", "a"], 2, "list takes no name"),
        (["revoke", "a", "--expires", "1d"], 2, "are for add, not for revoke"),
        (["list", "--scope", "infer"], 2, "are for add, not for list"),
        (["add", "a", "--scope", "root"], 2, "'root' is not a scope"),
        (["add", "a", "--expires", "soon"], 2, "'soon' is not a duration"),
        (["sing"], 2, "'sing'"),
        (["revoke", "a"], 1, "there is no key 'a'"),
        (["add", "a b"], 1, "key 'a b' cannot be made"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(ossia, args, code, found):
    ran = ossia("keys", *args)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1
    assert found in ran.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m", 60), ("12h", 43200), ("30d", 2592000), ("4W", 2419200)]
)
def test_times_are_read(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "d", "0d", "-1d", "1.5d", "1y", "99999w", "٣d", "1" * 20 + "d"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(typer.BadParameter):
        duration(text)


def test_every_scope_there_is_can_be_given():
    assert tuple(map(known_scope, SCOPES)) == SCOPES
