"""What the guard refuses, on every path and by every method, over a real connection."""

import asyncio
import json
import logging
import re
import time

import pytest

from ossia.errors import RequestError
from ossia.server.http.drain import Drain
from ossia.server.http.guard import Guard, GuardOptions
from ossia.store.api_keys import KeyFile, KeyRing, open_keys
from tests.server.live import Example, live, read_answer, wait_until

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PATHS = ("/", "/health", "/v1/responses", "/metrics", "/openapi.json", "/nowhere")
SECRET = "operator-chose-this"


@pytest.fixture(scope="module")
def app():
    return Example()


@pytest.fixture(scope="module")
def server(app):
    """Without keys: one local user."""
    with live(app) as found:
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def locked(app, keys):
    """With keys."""
    ring = open_keys({"OSSIA_API_KEY": SECRET}, keys.path)
    with live(app, keys=ring, guard=GuardOptions(requests_per_minute=None)) as found:
        yield found


def bearer(secret=SECRET):
    return f"authorization: Bearer {secret}"


def refused(answer, status, code):
    assert answer.status == status, answer
    if answer.body:
        assert answer.error()["code"] == code
    return answer


# Host and pages


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_host_is_refused_everywhere(server, app, method, path):
    before = len(app.seen)
    refused(server.ask(method, path, host="evil.example"), 421, "wrong_host")
    assert len(app.seen) == before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("", 400),
        ("localhost.evil.example", 421),
        ("127.0.0.1:8000@evil", 400),
        ("user@127.0.0.1", 400),
        ("0.0.0.0", 421),
        ("[::]", 421),
        ("127.1", 421),
        ("2130706433", 421),
        ("localhost.", 400),
        ("localhost:x", 400),
        ("http://localhost", 400),
        ("localhost, localhost", 400),
    ],
)
def test_an_odd_host_is_refused(server, host, status):
    assert server.ask(host=host).status == status


def test_a_second_host_is_refused(server):
    answer = server.ask("GET", "/", f"host: 127.0.0.1:{server.port}")
    refused(answer, 400, "repeated_header")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000"])
def test_loopback_names_are_let_in(server, host):
    assert server.ask(host=host).status == 200


@pytest.mark.parametrize("target", ["http://evil.example/", "*", "http://localhost/", "//evil/x"])
def test_a_target_that_names_a_host_opens_nothing(server, app, target):
    before = len(app.seen)
    answer = server.ask("OPTIONS", target)
    assert answer.status == 400 or app.seen[before:] == [("OPTIONS", target)]


@pytest.mark.parametrize("path", ["/", "/health", "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "page",
    [
        "http://evil.example",
        "null",
        "http://localhost.evil",
        "http://127.0.0.1:9999",
        "http://localhost:{port}",
        "https://127.0.0.1",
        "http://127.0.0.1:{port}, http://127.0.0.1:{port}",
        "file://",
    ],
)
def test_a_foreign_page_is_refused_with_and_without_a_cookie(server, path, method, page):
    line = "origin: " + page.format(port=server.port)
    for more in ((), ("cookie: session=1",), ("access-control-request-method: POST",)):
        answer = refused(server.ask(method, path, line, *more), 403, "foreign_origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_our_own_page_is_let_in_but_gets_no_leave_for_others(server):
    answer = server.ask("GET", "/", f"origin: http://127.0.0.1:{server.port}")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "whatever"])
def test_a_request_across_sites_is_refused(server, site):
    refused(server.ask("GET", "/", f"sec-fetch-site: {site}"), 403, "cross_site")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_request_of_the_same_site_is_let_in(server, site):
    assert server.ask("GET", "/", f"sec-fetch-site: {site}").status == 200


def test_an_allowed_host_is_let_in(app):
    with live(app, guard=GuardOptions(allowed_hosts=("ai.example",))) as server:
        assert server.ask(host="ai.example").status == 200
        assert server.ask("GET", "/", "origin: https://ai.example", host="ai.example").status == 200
        assert server.ask(host="b.example").status == 421


def test_an_operators_slip_is_refused(app):
    with pytest.raises(RequestError, match="--allowed-host: 'http://x' is not a host name"):
        Guard(
            app,
            options=GuardOptions(allowed_hosts=("http://x",)),
            keys=KeyRing(),
            drain=Drain(),
        )


# Keys


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [*PATHS, "/health/", "//health", "/HEALTH", "/health/live/x"])
def test_without_a_key_nothing_but_health_answers(locked, app, method, path):
    before = len(app.seen)
    answer = locked.ask(method, path)
    if path == "/health" and method in ("GET", "HEAD"):
        assert answer.status == 200
        assert app.callers[-1].scopes == frozenset()
    else:
        refused(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert len(app.seen) == before


@pytest.mark.parametrize(
    "lines",
    [
        ["authorization: Bearer wrong-but-long-enough"],
        ["authorization: "],
        ["authorization: Bearer"],
        ["authorization: Bearer "],
        [f"authorization: bearer  {SECRET}"],
        [f"authorization: {SECRET}"],
        [f"authorization: Basic {SECRET}"],
        [f"authorization: Bearer {SECRET} x"],
        [f"authorization: Bearer {SECRET[:-1]}"],
        [f"authorization: Bearer {SECRET}x"],
        ["authorization: Bearer \xff\xfe"],
        [f"authorization: Bearer {SECRET}", f"authorization: Bearer {SECRET}"],
        [f"x-api-key: {SECRET}"],
        [f"cookie: key={SECRET}"],
    ],
)
def test_what_is_not_the_key_is_refused(locked, lines):
    refused(locked.ask("GET", "/", *lines), 401, "invalid_api_key")


def test_a_key_in_the_url_opens_nothing(locked):
    path = f"/?api_key={SECRET}&authorization=Bearer%20{SECRET}"
    refused(locked.ask("GET", path), 401, "invalid_api_key")


def test_the_key_opens_and_names_its_caller(locked, app):
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert locked.ask("GET", "/", f"authorization: {scheme} {SECRET}").status == 200
    caller = app.callers[-1]
    assert caller.name == "environment"
    assert re.fullmatch(r"key_[0-9a-f]{32}", caller.owner)
    assert caller.scopes == {"infer", "tools", "admin"}


def test_without_keys_the_local_user_may_do_all_and_owns_nothing_of_others(server, app):
    assert server.ask("GET", "/", "authorization: Bearer EMPTY").status == 200
    assert (app.callers[-1].owner, app.callers[-1].name) == ("", "local")
    assert app.callers[-1].scopes == {"infer", "tools", "admin"}


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("infer", "/", 200),
        ("infer", "/metrics", 403),
        ("infer", "/debug/x", 403),
        ("infer", "/metricsx", 200),
        ("admin", "/metrics", 200),
        ("admin", "/", 403),
        ("tools", "/", 403),
    ],
)
def test_a_key_opens_what_it_is_for(locked, keys, scope, path, status):
    secret = keys.add("one", scopes=(scope,), expires_at=None)
    try:
        answer = locked.ask("GET", path, bearer(secret))
        assert answer.status == status
        if status == 403:
            refused(answer, 403, "missing_scope")
    finally:
        keys.revoke("one")


def test_an_expired_key_is_told_so(locked, keys):
    secret = keys.add("old", expires_at=int(time.time()) - 1)
    answer = refused(locked.ask("GET", "/", bearer(secret)), 401, "invalid_api_key")
    assert "has expired" in answer.error()["message"]
    keys.revoke("old")


def test_a_revoked_key_opens_nothing_any_more(locked, keys):
    secret = keys.add("brief", expires_at=None)
    assert locked.ask("GET", "/", bearer(secret)).status == 200
    keys.revoke("brief")
    refused(locked.ask("GET", "/", bearer(secret)), 401, "invalid_api_key")


def test_too_many_wrong_keys_close_their_address_and_no_other(app):
    ring = open_keys({"OSSIA_API_KEY": SECRET}, None)
    with live(app, keys=ring, guard=GuardOptions(wrong_keys=1000)) as server:
        wrong = f"GET / HTTP/1.1\r\nhost: localhost\r\n{bearer('wrong')}\r\n\r\n".encode()
        with server.connect() as connection:
            for _ in range(1000):
                connection.sendall(wrong)
                assert read_answer(connection).status == 401
        for secret in ("wrong", SECRET):
            answer = refused(server.ask("GET", "/", bearer(secret)), 429, "too_many_wrong_keys")
            assert 0 < int(answer.headers["retry-after"]) <= 600
            assert answer.headers["x-should-retry"] == "false"
        assert server.ask("GET", "/health").status == 200
        with server.connect_from("127.0.0.2") as connection:
            connection.sendall(wrong.replace(b"wrong", SECRET.encode()))
            assert read_answer(connection).status == 200


# Quotas


def test_a_key_asks_so_often_a_minute(app):
    ring = open_keys({"OSSIA_API_KEY": SECRET}, None)
    with live(app, keys=ring, guard=GuardOptions(requests_per_minute=2)) as server:
        statuses = [server.post({}, bearer()).status for _ in range(2)]
        assert statuses == [200, 200]
        answer = refused(server.post({}, bearer()), 429, "rate_limit_exceeded")
        assert answer.error()["type"] == "rate_limit_error"
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert server.ask("GET", "/", bearer()).status == 200  # to look is free


def test_a_key_has_so_many_requests_at_once(app):
    app = Example()
    ring = open_keys({"OSSIA_API_KEY": SECRET}, None)
    with live(app, keys=ring, guard=GuardOptions(requests_at_once=1)) as server:
        with server.connect() as first:
            first.sendall(f"GET /wait HTTP/1.1\r\nhost: localhost\r\n{bearer()}\r\n\r\n".encode())
            assert app.started.wait(5)
            answer = refused(server.ask("GET", "/", bearer()), 429, "rate_limit_exceeded")
            assert answer.headers["retry-after"] == "1"
        assert app.left.wait(5)
        wait_until(lambda: server.drain.running == 0)
        assert server.ask("GET", "/", bearer()).status == 200


def test_the_local_user_has_no_quota(app):
    tight = GuardOptions(requests_per_minute=1, requests_at_once=1)
    with live(app, guard=tight) as server:
        assert {server.post({}).status for _ in range(5)} == {200}


# Bodies


def test_a_body_arrives_as_it_was_sent(server):
    assert server.post({"a": 1}).body == b'{"a": 1}'
    chunked = (
        b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"content-type: application/json; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\n{\r\n1\r\n}\r\n0\r\nx-trailer: 1\r\nhost: evil.example\r\n\r\n"
    )
    assert server.exchange(chunked).body == b"{}"


@pytest.mark.parametrize(
    "media",
    [
        "content-type: text/plain",
        "content-type: application/x-www-form-urlencoded",
        "content-type: multipart/form-data; boundary=x",
        "content-type: application/jsonp",
        "content-type: text/plain; application/json",
        "content-type: ",
        "x-nothing: 1",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_a_body_that_is_not_json_is_refused(server, app, method, media):
    before = len(app.seen)
    refused(server.ask(method, "/", media, body=b"{}"), 415, "content_type")
    assert len(app.seen) == before


def test_two_content_types_are_refused(server):
    lines = ["content-type: application/json", "content-type: application/json"]
    refused(server.ask("POST", "/", *lines, body=b"{}"), 400, "repeated_header")


def test_a_form_without_a_body_is_refused_and_a_bare_post_is_not(server):
    refused(server.ask("POST", "/", "content-type: text/plain"), 415, "content_type")
    assert server.ask("POST", "/").status == 200
    assert server.ask("GET", "/", "content-type: text/plain").status == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "identity, gzip"])
def test_a_compressed_body_is_refused(server, coding):
    lines = ["content-type: application/json", f"content-encoding: {coding}"]
    refused(server.ask("POST", "/", *lines, body=b"{}"), 415, "content_encoding")


def test_an_uncompressed_body_may_say_so(server):
    assert server.post({}, "content-encoding: identity").status == 200


def test_a_body_too_long_by_its_length_is_refused_before_it_comes(server):
    head = (
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {(8 << 20) + 1}\r\nexpect: 100-continue\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.encode())
        refused(read_answer(connection), 413, "body_too_large")


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_too_long_is_refused_however_it_comes(app, declared):
    with live(app, guard=GuardOptions(max_body_bytes=1000)) as server:
        assert server.ask("POST", "/", "content-type: application/json", body=b"1" * 1000).body
        if declared:
            answer = server.ask("POST", "/", "content-type: application/json", body=b"1" * 1001)
        else:
            answer = server.exchange(
                b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
                + b"64\r\n" + b"1" * 100 + b"\r\n64\r\n" + b"1" * 100 + b"\r\n" * 1
                + b"384\r\n" + b"1" * 900 + b"\r\n"
            )  # fmt: skip
        refused(answer, 413, "body_too_large")


def test_many_large_bodies_at_once_are_refused_for_now(app):
    tight = GuardOptions(max_bodies_bytes=1000)
    with live(app, guard=tight) as server, server.connect() as first:
        half = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        first.sendall(half + b"content-length: 801\r\n\r\n" + b"1" * 800)
        wait_until(lambda: server.drain.running == 1)
        time.sleep(0.05)
        answer = server.ask("POST", "/", "content-type: application/json", body=b"1" * 300)
        refused(answer, 503, "unavailable")
        first.sendall(b"1")
        assert read_answer(first).status == 200
        assert server.ask("POST", "/", "content-type: application/json", body=b"1" * 300).body


def test_a_slow_body_is_refused_so_that_no_client_sends_it_again(app):
    with live(app, guard=GuardOptions(body_seconds=0.2)) as server, server.connect() as client:
        head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        client.sendall(head + b"content-length: 3\r\n\r\n{")
        answer = refused(read_answer(client), 400, "body_timeout")
        assert "retry-after" not in answer.headers


def test_a_client_that_leaves_within_its_body_is_forgotten(app):
    with live(app) as server:
        with server.connect() as client:
            head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            client.sendall(head + b"content-length: 3\r\n\r\n{")
            wait_until(lambda: server.drain.running == 1)
        wait_until(lambda: server.drain.running == 0)
        assert server.ask().status == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: -1"],
        ["content-length: +5"],
        ["content-length: 5", "content-length: 5"],
        ["content-length: 5", "content-length: 6"],
        ["content-length: 5, 5"],
        ["content-length: 0x5"],
        ["content-length: 99999999999999999999"],
        ["content-length: 5", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 5"],
        ["transfer-encoding: gzip, chunked"],
        ["transfer-encoding: identity"],
        ["transfer-encoding: chunked", "transfer-encoding: chunked"],
    ],
)
def test_a_body_whose_end_is_unclear_is_refused(server, app, lines):
    before = len(app.seen)
    text = "\r\n".join(["POST / HTTP/1.1", "host: localhost", "connection: close", *lines])
    answer = server.exchange(text.encode() + b"\r\ncontent-type: application/json\r\n\r\n{   }")
    assert answer.status == 400
    answer.error()
    assert len(app.seen) == before


# The head


def test_a_long_url_is_refused(server):
    assert server.ask("GET", "/" + "a" * 8000).status == 200
    refused(server.ask("GET", "/" + "a" * 8200), 414, "url_too_long")
    refused(server.ask("GET", "/?" + "a" * 8200), 414, "url_too_long")


def test_too_many_or_too_large_headers_are_refused(server):
    assert server.ask("GET", "/", *[f"x-{n}: 1" for n in range(90)]).status == 200
    many = server.ask("GET", "/", *[f"x-{n}: 1" for n in range(101)])
    refused(many, 431, "headers_too_large")
    refused(server.ask("GET", "/", "x: " + "a" * 17_000), 431, "headers_too_large")


def test_a_websocket_is_refused(server):
    upgrade = ["connection: upgrade", "sec-websocket-key: x", "sec-websocket-version: 13"]
    refused(server.ask("GET", "/", *upgrade, "upgrade: websocket"), 400, "upgrade_refused")


# What an answer carries


def test_every_answer_has_an_id_of_its_own(server):
    answers = [
        server.ask(),
        server.ask("GET", "/", "x-request-id: mine"),
        server.ask("GET", "/fail"),
        server.ask(host="evil.example"),
        server.exchange(b"nonsense\r\n\r\n"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", each) for each in ids)


def test_no_answer_tells_what_software_it_is(server):
    for answer in (server.ask(), server.ask("GET", "/fail"), server.exchange(b"x\r\n\r\n")):
        assert "server" not in answer.headers
        assert not re.search(rb"uvicorn|starlette|python", answer.raw, re.IGNORECASE)


def test_a_bug_is_answered_and_logged_without_its_words(server, caplog):
    with caplog.at_level(logging.INFO):
        answer = server.ask("GET", "/fail")
        wait_until(lambda: "RuntimeError" in caplog.text)
    assert refused(answer, 500, "server_error").headers["x-should-retry"] == "false"
    assert "RuntimeError at " in caplog.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "canary" not in caplog.text


def test_a_bug_amid_an_answer_cuts_the_connection(server, caplog):
    answer = server.ask("GET", "/late")
    assert answer.status == 200
    assert not answer.raw.endswith(b"0\r\n\r\n")
    wait_until(lambda: "RuntimeError at " in caplog.text)
    assert "canary" not in caplog.text


def test_a_bug_already_logged_is_not_logged_again(caplog):
    async def failed(scope, receive, send):
        scope["state"]["logged"] = error = RuntimeError("seen")
        raise error

    with live(with_lifespan(failed)) as server:
        assert server.ask().status == 500
    assert "RuntimeError" not in caplog.text


def test_an_answer_that_takes_too_long_is_ended():
    app = Example()
    with live(app, guard=GuardOptions(request_seconds=0.1)) as server:
        answer = server.ask("GET", "/wait")
        assert answer.body.startswith(b"6\r\nbegun")
        assert not answer.raw.endswith(b"0\r\n\r\n")


def test_a_timeout_of_the_applications_own_is_its_bug():
    async def late(scope, receive, send):
        raise TimeoutError

    async def never(scope, receive, send):
        await receive()
        await receive()

    with live(with_lifespan(late)) as server:
        refused(server.ask(), 500, "server_error")
    with live(with_lifespan(never), guard=GuardOptions(request_seconds=0.1)) as server:
        answer = refused(server.ask(), 503, "timeout")
        assert answer.headers["x-should-retry"] == "false"


def test_a_request_is_noted_with_its_route_and_nothing_the_caller_wrote(server, caplog):
    with caplog.at_level(logging.INFO, "ossia.access"):
        server.ask("GET", "/v1/responses/resp_1?q=canary")
        server.ask("GET", "/the%20prompt%0Awas%20canary")
        server.ask("GET", "/sk-local-canary")
        wait_until(lambda: len(caplog.records) == 3)
    first, second, third = (record.getMessage() for record in caplog.records)
    assert re.fullmatch(
        r"req_\w+ GET /v1/responses/resp_1 200 [\d.]+ ms caller=local client=127.0.0.1", first
    )
    assert "GET (other) 200" in second
    assert "GET (other) 200" in third
    assert "canary" not in caplog.text
    wait_until(lambda: server.finished[-1].endpoint == "other")
    noted = server.finished[-1]
    assert (noted.method, noted.endpoint, noted.status, noted.caller) == (
        "GET",
        "other",
        200,
        "local",
    )
    assert noted.seconds > 0


def test_the_route_of_a_framework_is_noted_by_its_template():
    from fastapi import FastAPI, Request

    framework = FastAPI()

    @framework.get("/v1/responses/{name}")
    async def read(name: str, request: Request) -> dict[str, str]:
        return {"owner": request.state.caller.owner, "id": request.state.request_id}

    with live(framework) as server:
        answer = server.ask("GET", "/v1/responses/abc")
        assert json.loads(answer.body) == {"owner": "", "id": answer.headers["x-request-id"]}
        wait_until(lambda: server.finished)
        assert server.finished[-1].endpoint == "/v1/responses/{name}"


def test_a_client_that_leaves_is_noted_as_gone():
    async def waits(scope, receive, send):
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    with live(with_lifespan(waits)) as server:
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            wait_until(lambda: server.drain.running == 1)
        wait_until(lambda: server.finished)
        assert server.finished[-1].status == 499


# What no request over a socket brings about


def unguarded(**options):
    return Guard(Example(), options=GuardOptions(**options), keys=KeyRing(), drain=Drain())


def test_a_websocket_of_another_server_is_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(unguarded()({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_request_that_is_cancelled_before_the_last_call_stays_cancelled():
    async def cancelled():
        scope = {
            "type": "http", "method": "GET", "path": "/wait", "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        never = asyncio.Event()

        async def receive():
            await never.wait()

        task = asyncio.create_task(unguarded()(scope, receive, None))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def with_lifespan(app):
    """Add to an application the life that servers ask of it."""
    example = Example()

    async def both(scope, receive, send):
        await (example if scope["type"] == "lifespan" else app)(scope, receive, send)

    return both
