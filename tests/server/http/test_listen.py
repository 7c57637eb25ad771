"""How the server begins and how it ends."""

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ossia.errors import RequestError
from ossia.server.http import listen as module
from ossia.server.http.drain import Drain
from ossia.server.http.guard import Guard, GuardOptions
from ossia.server.http.listen import (
    ListenAddress,
    Listening,
    ListeningOptions,
    close_sockets,
    open_sockets,
    refuse_keyless,
    urls_of,
)
from ossia.store.api_keys import KeyRing, open_keys
from tests.server.live import SECONDS, Example, live, read_answer, receive, wait_until

LATE = 8.0
"""Seconds; far less than the grace of 30, far more than a busy computer needs."""
SECRET = "operator-chose-this"
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@pytest.fixture
def app():
    return Example()


def test_it_answers_at_every_address_it_names(app):
    with live(app, options=ListeningOptions(port=0)) as server:
        assert len(server.listening.addresses) >= 1
        for address in server.listening.addresses:
            host = address.removeprefix("http://").rpartition(":")[0].strip("[]")
            with socket.create_connection((host, server.port), SECONDS) as client:
                client.sendall(GET)
                assert read_answer(client).status == 200


def test_it_answers_at_a_unix_socket(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with live(app, options=ListeningOptions(unix_socket=Path("s"))) as server:
        assert server.port is None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("s")
            client.sendall(GET)
            assert read_answer(client).status == 200
    assert not Path("s").exists()


def test_beyond_loopback_it_asks_for_a_key_first(app):
    options = ListeningOptions(host="0.0.0.0", port=0)
    with pytest.raises(RequestError, match="no API key"):
        Listening(options, keyed=False)
    with live(app, options=options, keys=open_keys({"OSSIA_API_KEY": SECRET}, None)) as server:
        assert server.ask().status == 401
        assert server.ask("GET", "/", f"authorization: Bearer {SECRET}").status == 200
        assert server.ask(host="0.0.0.0").status == 421


def test_the_door_can_be_closed_without_ever_serving():
    listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
    listening.close()
    listening.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listening.port), SECONDS)


def test_who_connects_before_it_serves_is_answered_then(app):
    listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
    with socket.create_connection(("127.0.0.1", listening.port), SECONDS) as client:
        client.sendall(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        drain = Drain()

        async def serve():
            serving = asyncio.create_task(listening.serve(open_to_all(app), drain))
            while not app.seen:
                await asyncio.sleep(0.01)
            drain.begin(time.monotonic())
            await serving

        asyncio.run(serve())
        assert read_answer(client).status == 200


def open_to_all(app):
    async def without_guard(scope, receive, send):
        await app({**scope, "state": {"caller": None}}, receive, send)

    return without_guard


@pytest.mark.parametrize("failure", [RequestError("no such model"), ValueError("a bug")])
def test_what_goes_wrong_at_the_start_comes_out_as_it_was(failure, capfd):
    async def broken(scope, receive, send):
        raise failure

    with pytest.raises(type(failure), match=str(failure)), live(broken):
        pass
    assert capfd.readouterr() == ("", "")


def test_an_application_that_says_it_failed_is_believed():
    async def failed(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"), live(failed):
        pass


def test_a_bug_in_a_request_is_not_taken_for_one_of_the_start(app):
    listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
    drain = Drain(0.0)

    async def both():
        serving = asyncio.create_task(listening.serve(open_to_all(app), drain))
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(GET.replace(b"/ ", b"/fail ", 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 500")
        writer.close()
        drain.begin(time.monotonic())
        await serving

    asyncio.run(both())


def test_only_a_trusted_proxy_says_who_the_client_is(app, caplog):
    caplog.set_level("INFO", "ossia.access")
    forwarded = "x-forwarded-for: 198.51.100.7"
    trusting = ListeningOptions(host="127.0.0.1", port=0, trusted_proxies=("127.0.0.1",))
    for options, client in ((None, "127.0.0.1"), (trusting, "198.51.100.7")):
        caplog.clear()
        with live(app, options=options) as server:
            assert server.ask("GET", "/", forwarded).status == 200
        assert caplog.records[0].getMessage().endswith(f"client={client}")


# The end


def test_while_it_drains_health_answers_and_new_work_does_not(app):
    with live(app) as server, server.connect() as running, server.connect() as idle:
        running.sendall(WAIT)
        assert app.started.wait(SECONDS)
        server.begin_drain()
        wait_until(lambda: server.drain.begun)
        answer = server.ask("POST", "/v1/responses")
        assert answer.status == 503
        assert answer.error()["code"] == "draining"
        assert answer.headers["retry-after"] == "1"
        assert server.ask("GET", "/health/live").status == 200
        idle.sendall(GET)
        assert read_answer(idle).status == 503
        app.go_on.set()
        answer = read_answer(running)
        assert answer.body.endswith(b"4\r\ndone\r\n0\r\n\r\n")


def test_idle_it_ends_at_once_though_connections_are_kept(app):
    with live(app) as server, server.connect() as idle:
        idle.sendall(GET)
        assert read_answer(idle).status == 200
        before = time.monotonic()
        server.begin_drain()
        assert receive(idle) == b""
        wait_until(server.loop.is_closed)
        assert time.monotonic() - before < LATE


def test_after_the_grace_a_last_call_lets_streams_end_well():
    async def heeds(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await drain.last_call.wait()
        await send({"type": "http.response.body", "body": b"failed"})

    example = Example()

    async def app(scope, receive, send):
        await (example if scope["type"] == "lifespan" else heeds)(scope, receive, send)

    with live(app, grace_seconds=0.1) as server, server.connect() as client:
        drain = server.drain
        client.sendall(GET)
        wait_until(lambda: drain.running)
        server.begin_drain()
        assert read_answer(client).body.endswith(b"6\r\nfailed\r\n0\r\n\r\n")


def test_who_does_not_heed_the_last_call_is_cut_off_without_a_word_in_the_log(app, caplog):
    with live(app, grace_seconds=0.0) as server, server.connect() as client:
        client.sendall(WAIT)
        assert app.started.wait(SECONDS)
        before = time.monotonic()
        server.begin_drain()
        assert not read_answer(client).raw.endswith(b"0\r\n\r\n")
        wait_until(server.loop.is_closed)
        assert time.monotonic() - before < LATE
    assert caplog.text == ""


PROGRAM = """

from ossia.server.http.drain import Drain
from ossia.server.http.guard import Guard, GuardOptions
from ossia.store.api_keys import KeyRing
from ossia.server.http.listen import Listening, ListeningOptions
from tests.server.live import Example

listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
drain, app = Drain(30.0), Example()
guard = Guard(app, options=GuardOptions(), keys=KeyRing(), drain=drain)
listening.run(guard, drain, started=lambda: print(listening.port, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def process():
    """The server as a program of its own, that can be sent signals."""
    root = Path(__file__).parents[3]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=where,
    )
    yield run
    run.kill()
    run.communicate()


def signalled(app, numbers):
    """Run a server in this thread, as a program does, while another asks it to wait for ever.

    Returns:
        How long it took to end after the last signal, and what the client was sent.
    """
    listening = Listening(ListeningOptions(host="127.0.0.1", port=0), keyed=False)
    drain = Drain(30.0)
    ready, sent, times = threading.Event(), [], []

    def outside():
        assert ready.wait(SECONDS)
        with socket.create_connection(("127.0.0.1", listening.port), SECONDS) as client:
            client.sendall(WAIT)
            assert app.started.wait(SECONDS)
            for number in numbers:
                os.kill(os.getpid(), number)
                wait_until(lambda: drain.begun)
            times.append(time.monotonic())
            if len(numbers) == 1:
                time.sleep(0.3)  # the stream outlasts the signal
                app.go_on.set()
            sent.append(read_answer(client).raw)

    client = threading.Thread(target=outside)
    client.start()
    guard = Guard(app, options=GuardOptions(), keys=KeyRing(), drain=drain)
    listening.run(guard, drain, started=ready.set)
    ended = time.monotonic()
    client.join(SECONDS)
    return ended - times[0], sent[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_stream_end(app, number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    seconds, sent = signalled(app, [number])
    assert 0.3 <= seconds < LATE
    assert sent.endswith(b"4\r\ndone\r\n0\r\n\r\n")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_nothing(app, number, caplog):
    seconds, sent = signalled(app, [number, number])
    assert seconds < LATE
    assert not sent.endswith(b"0\r\n\r\n")
    assert caplog.text == ""


def test_a_first_signal_waits_for_a_stream_and_a_second_does_not(process):
    number, port = signal.SIGTERM, int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        client.sendall(WAIT)
        assert receive(client).startswith(b"HTTP/1.1 200")
        process.send_signal(number)
        time.sleep(0.4)
        assert process.poll() is None
        assert probe(port) == 503
        before = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
        assert time.monotonic() - before < LATE
        while piece := receive(client):
            assert b"0\r\n\r\n" not in piece
    assert (process.returncode, out, err) == (0, "ended\n", "")


def probe(port):
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        client.sendall(GET)
        answer = read_answer(client)
        assert json.loads(answer.body)["error"]["code"] == "draining"
        return answer.status


@pytest.fixture
def listening():
    """Takes places, and gives them back after the test."""
    taken = []

    def take(place):
        found = open_sockets(place)
        taken.append((found, place.unix_socket))
        return found

    yield take
    for found, file in taken:
        close_sockets(found, file)


@pytest.fixture
def short_folder(tmp_path, monkeypatch):
    """The path of a unix socket must be short, so it is given from within its folder."""
    monkeypatch.chdir(tmp_path)
    return Path()


def has_ipv6():
    try:
        close_sockets(open_sockets(ListenAddress(host="::1", port=0)))
    except RequestError:
        return False
    return True


def test_loopback_of_both_kinds_is_taken_with_one_port(listening):
    found = listening(ListenAddress(port=0))
    port = found[0].getsockname()[1]
    assert urls_of(found)[0] == f"http://127.0.0.1:{port}"
    if has_ipv6():
        assert urls_of(found)[1:] == (f"http://[::1]:{port}",)
    for each in found:
        socket.create_connection(each.getsockname()[:2], 5).close()


def test_only_the_given_address_is_taken(listening):
    [found] = listening(ListenAddress(host="127.0.0.2", port=0))
    assert urls_of([found]) == (f"http://127.0.0.2:{found.getsockname()[1]}",)


@pytest.mark.parametrize("host", ["localhost", "[::1]", "::1"])
def test_names_and_brackets_are_understood(listening, host):
    if ":" in host and not has_ipv6():
        pytest.skip("this computer has no IPv6")
    assert listening(ListenAddress(host=host, port=0))


def test_what_was_sent_is_sent_at_once(listening):
    """Without this, an answer in two pieces waits 40 ms for the client to confirm the first."""
    [found] = listening(ListenAddress(host="127.0.0.1", port=0))
    assert found.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_said_with_another_to_try(listening):
    [first] = listening(ListenAddress(host="127.0.0.1", port=0))
    port = first.getsockname()[1]
    for host in ("127.0.0.1", None):
        with pytest.raises(RequestError, match=rf"port {port} of 127.0.0.1 is in use; .* --port"):
            open_sockets(ListenAddress(host=host, port=port))


def test_a_port_taken_at_the_second_address_leaves_the_first_free(listening):
    if not has_ipv6():
        pytest.skip("this computer has no IPv6")
    [second] = listening(ListenAddress(host="::1", port=0))
    port = second.getsockname()[1]
    with pytest.raises(RequestError, match=rf"port {port} of ::1 is in use"):
        open_sockets(ListenAddress(port=port))
    assert listening(ListenAddress(host="127.0.0.1", port=port))


def test_a_free_port_is_looked_for_until_it_is_free_at_both_addresses(listening, monkeypatch):
    real, tried = module._bind, []

    def sometimes(family, address):
        tried.append(address[0])
        if address[0] == "::1" and tried.count("::1") < 3:
            raise OSError(errno.EADDRINUSE, "in use")
        return real(family, address)

    monkeypatch.setattr(module, "_bind", sometimes)
    assert listening(ListenAddress(port=0))
    assert tried == ["127.0.0.1", "::1"] * 3
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    tried.clear()
    with pytest.raises(RequestError, match="in use"):
        open_sockets(ListenAddress(port=0))


@pytest.mark.parametrize("absent", [{"::1"}, {"127.0.0.1"}])
def test_one_kind_of_loopback_is_enough(listening, monkeypatch, absent):
    without(monkeypatch, absent)
    if absent == {"127.0.0.1"} and not has_ipv6():
        pytest.skip("this computer has no IPv6")
    assert len(listening(ListenAddress(port=0))) == 1


def test_no_loopback_at_all_is_said(monkeypatch):
    without(monkeypatch, {"::1", "127.0.0.1"})
    with pytest.raises(RequestError, match="no loopback address"):
        open_sockets(ListenAddress(port=0))


def without(monkeypatch, absent):
    real = module._bind

    def once(family, address):
        if address[0] in absent:
            raise OSError(errno.EADDRNOTAVAIL, "not here")
        return real(family, address)

    monkeypatch.setattr(module, "_bind", once)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "this user may not listen on port 80"),
        (errno.EADDRNOTAVAIL, "this computer has no address 127.0.0.1"),
        (errno.ENOBUFS, "port 80 of 127.0.0.1 cannot be listened on: No buffer"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_next_step(monkeypatch, number, message):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "_bind", refuse)
    with pytest.raises(RequestError, match=message):
        open_sockets(ListenAddress(host="127.0.0.1", port=80))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "not an address"])
def test_a_name_that_is_no_address_is_said(host):
    for act in (lambda place: refuse_keyless(place, keyed=False), open_sockets):
        with pytest.raises(RequestError, match="is not an address of this computer"):
            act(ListenAddress(host=host, port=0))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_said(port):
    with pytest.raises(RequestError, match="is not a port"):
        open_sockets(ListenAddress(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "0", "::ffff:0.0.0.0"])
def test_other_computers_may_reach_it_only_with_a_key(host):
    place = ListenAddress(host=host, port=0)
    with pytest.raises(RequestError, match=r"no API key; make one: ossia keys add NAME"):
        refuse_keyless(place, keyed=False)
    refuse_keyless(place, keyed=True)


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", "127.9.9.9", "::1", "127.1"])
def test_loopback_needs_no_key(host):
    refuse_keyless(ListenAddress(host=host), keyed=False)


def test_a_unix_socket_is_its_owners_alone(listening, short_folder):
    before = os.umask(0)
    try:
        [found] = listening(ListenAddress(unix_socket=short_folder / "s"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("s").st_mode) == 0o600
    assert urls_of([found]) == ("unix:s",)
    refuse_keyless(ListenAddress(unix_socket=short_folder / "s"), keyed=False)


def test_a_unix_socket_in_use_is_left_alone_and_a_dead_one_replaced(short_folder):
    place = ListenAddress(unix_socket=short_folder / "s")
    first = open_sockets(place)
    with pytest.raises(RequestError, match="in use by another server"):
        open_sockets(place)
    close_sockets(first)  # as if killed: the file stays
    assert os.path.exists("s")
    close_sockets(open_sockets(place), place.unix_socket)
    assert not os.path.exists("s")


def test_no_other_file_is_replaced(short_folder):
    (short_folder / "s").write_text("mine")
    with pytest.raises(RequestError, match="is not a socket"):
        open_sockets(ListenAddress(unix_socket=short_folder / "s"))
    assert (short_folder / "s").read_text() == "mine"


def test_a_unix_socket_that_cannot_be_made_is_said(short_folder):
    for path in (short_folder / "none" / "s", Path("s" * 200)):
        with pytest.raises(RequestError, match="cannot be listened on"):
            open_sockets(ListenAddress(unix_socket=path))
