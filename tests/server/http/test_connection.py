"""Clients that dawdle, flood, stall, or speak something other than HTTP."""

import re
import socket
import struct
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ossia.server.http.connection import ConnectionLimits
from ossia.server.http.listen import ListeningOptions
from tests.server.live import Example, live, read_answer, receive, wait_until

LATE = 5.0
"""Seconds after which something did not happen in its time, even where the computer is busy."""
QUICK = ConnectionLimits(
    max_connections=4, idle_seconds=2.0, head_seconds=0.3, body_seconds=1.0, stall_seconds=1.0
)
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture
def app():
    return Example()


@pytest.fixture
def server(app):
    options = ListeningOptions(host="127.0.0.1", port=0, limits=QUICK)
    with live(app, options=options) as found:
        yield found


@pytest.fixture(scope="module")
def patient():
    with live(Example()) as found:
        yield found


def ended(connection):
    """Wait for the server to close; what it had sent before."""
    sent = b""
    while piece := receive(connection):
        sent += piece
    return sent


@pytest.mark.parametrize("begun", [b"G", b"\r\n", b"GET / HTTP/1.1\r\nhost: local"])
def test_a_head_that_does_not_end_is_cut_off(server, begun):
    with server.connect() as client:
        before = time.monotonic()
        client.sendall(begun)
        assert ended(client) == b""
        assert 0.2 < time.monotonic() - before < LATE


def test_a_head_drop_by_drop_gains_no_time(server):
    with server.connect() as client:
        before = time.monotonic()
        with pytest.raises(OSError, match="reset|[Bb]roken pipe"):
            drip(client)
        assert time.monotonic() - before < LATE


def drip(client):
    for _ in range(1000):
        client.sendall(b"x")
        time.sleep(0.02)


def test_a_client_that_says_nothing_is_cut_off_at_last(server):
    with server.connect() as client:
        before = time.monotonic()
        assert ended(client) == b""
        assert 1.9 < time.monotonic() - before < LATE


def test_a_client_that_says_nothing_more_is_cut_off_too(server):
    with server.connect() as client:
        client.sendall(GET)
        assert read_answer(client).status == 200
        before = time.monotonic()
        assert ended(client) == b""
        assert 1.8 < time.monotonic() - before < LATE


def test_a_connection_serves_one_request_after_another(patient):
    with patient.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            assert read_answer(client).status == 200


def test_requests_sent_ahead_are_answered_in_order(patient):
    with patient.connect() as client:
        bodies = [b"1", b"22", b"333"]
        client.sendall(
            b"".join(POST + b"content-length: %d\r\n\r\n" % len(body) + body for body in bodies)
            + GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        )
        answered = ended(client)
    assert answered.count(b"HTTP/1.1 200") == 4
    first, second, third, _ = answered.split(b"HTTP/1.1 200 OK")[1:]
    assert [first[-1:], second[-2:], third[-3:]] == bodies


def test_a_client_that_leaves_is_noticed_though_it_sent_more_requests_ahead(server, app):
    with server.connect() as client:
        client.sendall(GET.replace(b"/ ", b"/wait ", 1) + GET)
        assert app.started.wait(5)
    assert app.left.wait(5)
    wait_until(lambda: server.drain.running == 0)


def test_what_stays_unread_because_we_answer_is_no_fault_of_the_clients(server, app):
    """The second request came whole and the third in part while the first is still answered."""
    with server.connect() as client:
        client.sendall(GET.replace(b"/ ", b"/wait ", 1) + GET + b"GET /x HT")
        assert app.started.wait(5)
        time.sleep(0.5)
        app.go_on.set()
        client.sendall(b"TP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert ended(client).count(b"HTTP/1.1 200") == 3


def test_a_body_that_does_not_end_after_a_refusal_is_cut_off(server):
    with server.connect() as client:
        client.sendall(POST.replace(b"application/json", b"text/plain"))
        client.sendall(b"content-length: 100\r\n\r\n{")
        assert read_answer(client).status == 415
        before = time.monotonic()
        assert ended(client) == b""
        assert time.monotonic() - before < LATE


def test_a_body_that_comes_after_a_refusal_is_passed_over(patient):
    with patient.connect() as client:
        client.sendall(POST.replace(b"application/json", b"text/plain"))
        client.sendall(b"content-length: 5\r\n\r\n")
        assert read_answer(client).status == 415
        client.sendall(b"12345" + GET)
        assert read_answer(client).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
        b"GET / HTTP/1.1\r\n host: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"BREW / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nZZ\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_same_shape(patient, sent):
    answer = patient.exchange(sent)
    assert answer.status in (400, 421)
    assert answer.error()["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"


PIECES = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"host: localhost\r\n", b"\r\n", b"\n", b"\r",
     b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n",
     b"content-type: application/json\r\n", b"abc", b"\x00", b"\xff", b" ", b":", b"HTTP/1.0",
     b"connection: upgrade\r\nupgrade: x\r\n", b"expect: 100-continue\r\n",
     b"connection: close\r\n"]
) | st.binary(max_size=4)  # fmt: skip


@given(
    st.builds(
        bytes.__add__,
        st.sampled_from([b"", GET, GET[:-2], POST, POST + b"content-length: 3\r\n\r\nabc"]),
        st.lists(PIECES | st.just(GET), max_size=4).map(b"".join),
    )
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_nothing_breaks(patient, sent):
    with patient.connect() as client:
        client.sendall(sent)
        time.sleep(0.005)  # else the end comes before the answer
        client.shutdown(socket.SHUT_WR)
        answered = ended(client)
    statuses = re.findall(rb"^HTTP/1.1 (\d)", answered, re.MULTILINE)
    assert set(statuses) <= {b"1", b"2", b"4"}
    assert bool(answered) is bool(statuses)


def test_an_old_client_is_answered_and_let_go(patient):
    with patient.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n")
        assert ended(client).startswith(b"HTTP/1.1 200")


def test_nonsense_amid_an_answer_cuts_the_connection(server, app):
    with server.connect() as client:
        client.sendall(GET.replace(b"/ ", b"/wait ", 1))
        assert app.started.wait(5)
        client.sendall(b"nonsense\r\n\r\n")
        assert b"400" not in ended(client)
    assert app.left.wait(5)


def test_endless_headers_are_refused_before_they_fill_the_memory(patient):
    with patient.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
        assert flooded(client) < 1 << 20


def test_an_endless_url_is_refused_before_it_fills_the_memory(patient):
    with patient.connect() as client:
        client.sendall(b"GET /")
        assert flooded(client) < 1 << 20


def test_endless_trailers_are_refused_before_they_fill_the_memory(patient):
    with patient.connect() as client:
        client.sendall(POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nx: ")
        assert flooded(client) < 1 << 20


def flooded(client):
    """How many bytes the server took before it refused more."""
    taken = 0
    with pytest.raises(OSError, match="reset|[Bb]roken pipe"):  # noqa: PT012
        while taken < 64 << 20:
            taken += client.send(b"a" * 4096)
            time.sleep(0)
    return taken


def test_a_reader_that_stalls_is_cut_off_and_the_answer_with_it(server, app):
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(GET.replace(b"/ ", b"/flood ", 1))
        assert app.left.wait(5)
    wait_until(lambda: server.drain.running == 0)


def test_a_reader_that_pauses_and_goes_on_is_served(server, app):
    with server.connect() as client:
        client.sendall(GET.replace(b"/ ", b"/flood ", 1))
        for _ in range(4):
            time.sleep(0.4)
            taken = 0
            while taken < 12 << 20:
                piece = receive(client)
                assert piece
                taken += len(piece)
        assert not app.left.is_set()
    assert app.left.wait(5)


def test_an_answer_that_is_not_taken_before_the_end_is_given_up(server, app):
    """It is whole, so nothing waits for room; only the connection is still there."""
    size = 3 << 20
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(
            POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % size + b"1" * size
        )
        wait_until(lambda: server.finished)
        wait_until(lambda: not server.connections())


def test_where_there_are_too_many_the_longest_idle_goes_and_the_newest_is_served(server):
    idle = [server.connect() for _ in range(4)]
    wait_until(lambda: len(server.connections()) == 4)
    idle[1].sendall(b"G")
    assert server.ask().status == 200
    answer = read_answer(idle[0])
    assert answer.status == 503
    assert answer.error()["code"] == "too_many_connections"
    assert answer.headers["retry-after"] == "1"
    for each in idle:
        each.close()


def test_where_all_are_being_answered_the_newest_is_refused(server, app):
    busy = [server.connect() for _ in range(4)]
    for each in busy:
        each.sendall(GET.replace(b"/ ", b"/wait ", 1))
    wait_until(lambda: server.drain.running == 4)
    answer = server.ask()
    assert answer.status in (503, 0)  # 0: the refusal crossed with the request
    with server.connect() as client:
        answer = read_answer(client)
        assert (answer.status, answer.error()["code"]) == (503, "too_many_connections")
    app.go_on.set()
    for each in busy:
        assert read_answer(each).status == 200
        each.close()
    wait_until(lambda: not server.connections())
    assert server.ask().status == 200


def test_an_unfinished_body_makes_room_too(server):
    half = [server.connect() for _ in range(4)]
    for each in half:
        each.sendall(POST + b"content-length: 9\r\n\r\n{")
    wait_until(lambda: server.drain.running == 4)
    assert server.ask().status == 200
    assert read_answer(half[0]).status == 503
    for each in half:
        each.close()


def test_a_crowd_of_idle_connections_shuts_nobody_out(patient):
    crowd = [patient.connect() for _ in range(700)]
    try:
        assert len(patient.connections()) <= 512
        assert patient.ask().status == 200
    finally:
        for each in crowd:
            each.close()
    wait_until(lambda: not patient.connections())


def test_a_client_that_resets_amid_an_answer_leaves_nothing_behind(server, app):
    for _ in range(20):
        app.started.clear()
        app.left.clear()
        with server.connect() as client:
            client.sendall(GET.replace(b"/ ", b"/wait ", 1))
            assert app.started.wait(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert app.left.wait(5)
    wait_until(lambda: server.drain.running == 0 and not server.connections())


ATTACKS = (
    b"nonsense\r\n\r\n", b"\x16\x03\x01", GET.replace(b"localhost", b"evil.example"),
    POST + b"content-length: 99999999999\r\n\r\n", POST + b"content-length: -1\r\n\r\n",
    GET.replace(b"GET", b"TRACE"), b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * 100_000,
    POST.replace(b"json", b"jsonp") + b"content-length: 2\r\n\r\n{}",
    GET.replace(b"/ ", b"/fail ", 1), GET.replace(b"/ ", b"/late ", 1), b"GET / HT", b"",
)  # fmt: skip


def test_attacks_do_not_hold_up_anyone_else(patient):
    """A stream that ticks goes on ticking, and every honest request is answered."""
    gaps, over = [], threading.Event()

    def listen():
        with patient.connect() as client:
            client.sendall(GET.replace(b"/ ", b"/tick ", 1))
            last = None
            while not over.is_set():
                assert receive(client)
                now = time.monotonic()
                if last is not None:
                    gaps.append(now - last)
                last = now

    canary = threading.Thread(target=listen)
    canary.start()
    half_open = []
    for attack in ATTACKS * 15:
        client = patient.connect()
        client.sendall(attack)
        half_open.append(client)
        assert patient.ask().status == 200
        if len(half_open) > 20:
            half_open.pop(0).close()
    over.set()
    canary.join(10)
    for client in half_open:
        client.close()
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) * 98 // 100] < 0.5
    wait_until(lambda: patient.drain.running == 0 and not patient.connections())


UPGRADE = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


@pytest.mark.parametrize("split", range(1, 60, 7))
def test_an_offer_of_http2_is_passed_over_and_its_body_read(patient, split):
    sent = POST + UPGRADE + b"content-length: 11\r\n\r\n" + b'{"a": "bc"}' + GET
    with patient.connect() as client:
        for part in (sent[:-split], sent[-split:]):
            client.sendall(part)
            time.sleep(0.01)
        assert read_answer(client).body == b'{"a": "bc"}'
        assert read_answer(client).status == 200


def test_an_offer_of_http2_with_a_body_in_chunks_or_none_is_passed_over(patient):
    chunked = POST + UPGRADE + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert_answers(patient, chunked, b"{}")
    assert_answers(patient, GET[:-2] + UPGRADE + b"\r\n", b"")
    assert_answers(patient, POST + UPGRADE + b"content-length: 0\r\n\r\n", b"")


def assert_answers(server, sent, body):
    with server.connect() as client:
        client.sendall(sent)
        answer = read_answer(client)
        assert (answer.status, answer.body) == (200, body)
