"""Where the server listens, and what is said where it cannot."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from ossia.errors import RequestError
from ossia.server import sockets as module
from ossia.server.sockets import Place, listen, names, refuse_keyless, release


@pytest.fixture
def listening():
    """Takes places, and gives them back after the test."""
    taken = []

    def take(place):
        found = listen(place)
        taken.append((found, place.unix_socket))
        return found

    yield take
    for found, file in taken:
        release(found, file)


@pytest.fixture
def short_folder(tmp_path, monkeypatch):
    """The path of a unix socket must be short, so it is given from within its folder."""
    monkeypatch.chdir(tmp_path)
    return Path()


def has_ipv6():
    try:
        release(listen(Place(host="::1", port=0)))
    except RequestError:
        return False
    return True


def test_loopback_of_both_kinds_is_taken_with_one_port(listening):
    found = listening(Place(port=0))
    port = found[0].getsockname()[1]
    assert names(found)[0] == f"http://127.0.0.1:{port}"
    if has_ipv6():
        assert names(found)[1:] == (f"http://[::1]:{port}",)
    for each in found:
        socket.create_connection(each.getsockname()[:2], 5).close()


def test_only_the_given_address_is_taken(listening):
    [found] = listening(Place(host="127.0.0.2", port=0))
    assert names([found]) == (f"http://127.0.0.2:{found.getsockname()[1]}",)


@pytest.mark.parametrize("host", ["localhost", "[::1]", "::1"])
def test_names_and_brackets_are_understood(listening, host):
    if ":" in host and not has_ipv6():
        pytest.skip("this computer has no IPv6")
    assert listening(Place(host=host, port=0))


def test_what_was_sent_is_sent_at_once(listening):
    """Without this, an answer in two pieces waits 40 ms for the client to confirm the first."""
    [found] = listening(Place(host="127.0.0.1", port=0))
    assert found.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_said_with_another_to_try(listening):
    [first] = listening(Place(host="127.0.0.1", port=0))
    port = first.getsockname()[1]
    for host in ("127.0.0.1", None):
        with pytest.raises(RequestError, match=rf"port {port} of 127.0.0.1 is in use; .* --port"):
            listen(Place(host=host, port=port))


def test_a_port_taken_at_the_second_address_leaves_the_first_free(listening):
    if not has_ipv6():
        pytest.skip("this computer has no IPv6")
    [second] = listening(Place(host="::1", port=0))
    port = second.getsockname()[1]
    with pytest.raises(RequestError, match=rf"port {port} of ::1 is in use"):
        listen(Place(port=port))
    assert listening(Place(host="127.0.0.1", port=port))


def test_a_free_port_is_looked_for_until_it_is_free_at_both_addresses(listening, monkeypatch):
    real, tried = module._listen_once, []

    def sometimes(family, address):
        tried.append(address[0])
        if address[0] == "::1" and tried.count("::1") < 3:
            raise OSError(errno.EADDRINUSE, "in use")
        return real(family, address)

    monkeypatch.setattr(module, "_listen_once", sometimes)
    assert listening(Place(port=0))
    assert tried == ["127.0.0.1", "::1"] * 3
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    tried.clear()
    with pytest.raises(RequestError, match="in use"):
        listen(Place(port=0))


@pytest.mark.parametrize("absent", [{"::1"}, {"127.0.0.1"}])
def test_one_kind_of_loopback_is_enough(listening, monkeypatch, absent):
    without(monkeypatch, absent)
    if absent == {"127.0.0.1"} and not has_ipv6():
        pytest.skip("this computer has no IPv6")
    assert len(listening(Place(port=0))) == 1


def test_no_loopback_at_all_is_said(monkeypatch):
    without(monkeypatch, {"::1", "127.0.0.1"})
    with pytest.raises(RequestError, match="no loopback address"):
        listen(Place(port=0))


def without(monkeypatch, absent):
    real = module._listen_once

    def once(family, address):
        if address[0] in absent:
            raise OSError(errno.EADDRNOTAVAIL, "not here")
        return real(family, address)

    monkeypatch.setattr(module, "_listen_once", once)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "this user may not listen on port 80"),
        (errno.EADDRNOTAVAIL, "this computer has no address 127.0.0.1"),
        (errno.ENOBUFS, "port 80 of 127.0.0.1 cannot be listened on: No buffer"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_next_step(monkeypatch, number, told):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "_listen_once", refuse)
    with pytest.raises(RequestError, match=told):
        listen(Place(host="127.0.0.1", port=80))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "not an address"])
def test_a_name_that_is_no_address_is_said(host):
    for act in (lambda place: refuse_keyless(place, keyed=False), listen):
        with pytest.raises(RequestError, match="is no address of this computer"):
            act(Place(host=host, port=0))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_said(port):
    with pytest.raises(RequestError, match="is no port"):
        listen(Place(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "0", "::ffff:0.0.0.0"])
def test_other_computers_may_reach_it_only_with_a_key(host):
    place = Place(host=host, port=0)
    with pytest.raises(RequestError, match=r"no API key; make one: ossia keys add NAME"):
        refuse_keyless(place, keyed=False)
    refuse_keyless(place, keyed=True)


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", "127.9.9.9", "::1", "127.1"])
def test_loopback_needs_no_key(host):
    refuse_keyless(Place(host=host), keyed=False)


def test_a_unix_socket_is_its_owners_alone(listening, short_folder):
    before = os.umask(0)
    try:
        [found] = listening(Place(unix_socket=short_folder / "s"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("s").st_mode) == 0o600
    assert names([found]) == ("unix:s",)
    refuse_keyless(Place(unix_socket=short_folder / "s"), keyed=False)


def test_a_unix_socket_in_use_is_left_alone_and_a_dead_one_replaced(short_folder):
    place = Place(unix_socket=short_folder / "s")
    first = listen(place)
    with pytest.raises(RequestError, match="in use by another server"):
        listen(place)
    release(first)  # as if killed: the file stays
    assert os.path.exists("s")
    release(listen(place), place.unix_socket)
    assert not os.path.exists("s")


def test_no_other_file_is_replaced(short_folder):
    (short_folder / "s").write_text("mine")
    with pytest.raises(RequestError, match="is no socket"):
        listen(Place(unix_socket=short_folder / "s"))
    assert (short_folder / "s").read_text() == "mine"


def test_a_unix_socket_that_cannot_be_made_is_said(short_folder):
    for path in (short_folder / "none" / "s", Path("s" * 200)):
        with pytest.raises(RequestError, match="cannot be listened on"):
            listen(Place(unix_socket=path))
