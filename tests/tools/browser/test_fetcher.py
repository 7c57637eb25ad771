"""Fetching from real sockets on loopback: what may be reached, and how much of it is read."""

import asyncio
import gzip
import ipaddress
import socket
import ssl
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.browser.backend import Failure
from ossia.tools.browser.fetcher import Fetcher, WebOptions, _received, is_public, parse
from tests.tools.browser.certificate import GOOD_EXAMPLE
from tests.tools.browser.web_server import (
    PRIVATE,
    PUBLIC,
    fetcher_for,
    names,
    page,
    redirect,
    serving,
)


def run(work):
    return asyncio.run(asyncio.wait_for(work, 30))


def fetched(answer, path="/", **options):
    """What comes of fetching from a server that plays the public net, and what it was asked."""

    async def work():
        async with serving(answer) as site:
            fetcher = fetcher_for(site, **options)
            return await fetcher.fetch(f"http://good.example:{site.port}{path}"), site

    return run(work())


def refused(answer, path="/", **options):
    with pytest.raises(Failure) as failure:
        fetched(answer, path, **options)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_a_page_is_fetched():
    found, site = fetched(lambda path: page("<p>é", kind="Text/HTML; Charset='utf-8'"), "/x?y#z")
    assert found.content == "<p>é".encode()
    assert (found.media_type, found.charset) == ("text/html", "utf-8")
    assert found.url == f"http://good.example:{site.port}/x?y"


def test_nothing_is_sent_that_tells_of_the_user(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.9:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.9:1")

    def answer(path):
        if path == "/":
            return page("", "Location: /next", "Set-Cookie: a=b; Path=/", status="302 Found")
        return page("done")

    _, site = fetched(answer)
    for head, path in zip(site.requests, ("/", "/next"), strict=True):
        lines = head.strip().split("\r\n")
        assert lines[0] == f"GET {path} HTTP/1.1"
        sent = dict(line.lower().split(": ", 1) for line in lines[1:])
        assert sent == {
            "host": f"good.example:{site.port}",
            "user-agent": "ossia",
            "accept": "text/html, text/*;q=0.9, application/json, application/xml;q=0.8",
            "accept-encoding": "gzip, deflate",
            "connection": "close",
        }


# Where it connects.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "0", "0.0.0.0", "127.1", "127.0.1", "0x7f000001",
        "0x7f.1", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.1.", "LOCALHOST.",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::127.0.0.1]",
        "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1",
        "[fc00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]",
        "１２７.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1%00", "user@127.0.0.1",
        "good.example\\@127.0.0.1", "good.example\t@127.0.0.1", "127.0.0.1\t", "%31%32%37.0.0.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_a_private_address_is_connected_to(host, scheme):
    """With the system's own resolver, which knows the odd spellings; a server listens."""

    async def work():
        async with serving(lambda path: page("secret"), "127.0.0.1") as site:
            fetcher = Fetcher(WebOptions(ports=frozenset((site.port,))))
            with pytest.raises(Failure) as failure:
                await fetcher.fetch(f"{scheme}://{host}:{site.port}/")
            assert "no connection" not in str(failure.value)  # it was not even tried
            return site.num_connections

    assert run(work()) == 0


def test_the_server_of_that_test_would_have_answered():
    async def work():
        async with serving(lambda path: page("secret"), "127.0.0.1") as site:
            fetcher = Fetcher(WebOptions(ports=frozenset((site.port,))), permits=lambda place: True)
            return (await fetcher.fetch(f"http://2130706433:{site.port}/")).content

    assert run(work()) == b"secret"


@pytest.mark.parametrize("port", [22, 25, 6379, 11434, 8000])
def test_other_ports_are_refused(port):
    with pytest.raises(Failure, match="may not be opened; allowed are: 80, 443"):
        run(Fetcher().fetch(f"http://1.1.1.1:{port}/"))


def test_all_addresses_of_a_name_must_be_public():
    assert "not on the public net" in refused(
        lambda path: page("x"), resolve=names(good_example=[PUBLIC, PRIVATE])
    )


def test_a_name_without_address_is_refused():
    assert "not on the public net" in refused(lambda p: page("x"), resolve=names(good_example=[]))

    async def unknown(host, port):
        raise socket.gaierror(8, "not known")

    assert "this host is not known" in refused(lambda path: page("x"), resolve=unknown)


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to():
    """Public at the first look, private at the second: there is no second."""

    async def work():
        async with (
            serving(lambda path: page("public")) as site,
            serving(lambda path: page("secret"), PRIVATE, port=site.port) as private,
        ):
            resolve = names(good_example=lambda nth: [PUBLIC if nth == 1 else PRIVATE])
            fetcher = fetcher_for(site, resolve=resolve)
            found = await fetcher.fetch(f"http://good.example:{site.port}/")
            assert (found.content, resolve.requests) == (b"public", ["good.example"])
            with pytest.raises(Failure, match="not on the public net"):
                await fetcher.fetch(f"http://good.example:{site.port}/")
            return private.num_connections

    assert run(work()) == 0


def test_the_client_resolves_nothing_by_itself(monkeypatch):
    requests = []
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **how: requests.append(host) or real(host, *more, **how),
    )
    fetched(lambda path: page("x"))
    assert {host for host in requests if host not in (PUBLIC, PUBLIC.encode())} == set()


def test_another_address_is_tried_where_one_is_dead():
    async def work():
        async with serving(lambda path: page("x"), PUBLIC) as site:
            fetcher = Fetcher(
                WebOptions(ports=frozenset((site.port,))),
                resolve=names(good_example=["127.0.0.3", PUBLIC]),
                permits=lambda address: True,
            )
            return (await fetcher.fetch(f"http://good.example:{site.port}/")).content

    assert run(work()) == b"x"


def test_nobody_there_is_a_failure():
    async def work():
        async with serving(lambda path: page("x")) as site:
            pass
        await fetcher_for(site).fetch(f"http://good.example:{site.port}/")

    with pytest.raises(Failure, match="no connection"):
        run(work())


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status):
    found, site = fetched(lambda p: redirect("/b?c", status) if p == "/" else page("there"))
    assert (found.content, site.paths) == (b"there", ["/", "/b?c"])
    assert found.url.endswith("/b?c")


@pytest.mark.parametrize(
    "target",
    [
        "http://bad.example:{}/", "//bad.example:{}/", "http://user@bad.example:{}/",
        "http://good.example\\@bad.example:{}/", "HTTP://BAD.example.:{}/",
    ],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(target):
    async def work():
        async with (
            serving(lambda path: redirect(target.format(public.port))) as public,
            serving(lambda path: page("secret"), PRIVATE, port=public.port) as private,
        ):
            with pytest.raises(Failure, match="public net|cannot be opened"):
                await fetcher_for(public).fetch(f"http://good.example:{public.port}/")
            return private.num_connections

    assert run(work()) == 0


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://good.example/", "gopher://x", "data:text/html,x", "javascript:1",
     "http://good.example:22/", "http://[", "view-source:file:///x", "http://127.0.0.1:1/"],
)  # fmt: skip
def test_a_redirect_elsewhere_is_refused(target):
    refused(lambda path: redirect(target))


def test_a_chain_of_redirects_ends():
    async def work():
        answer = lambda path: redirect(f"/{int(path[1:] or 0) + 1}")  # noqa: E731
        async with serving(answer) as site:
            with pytest.raises(Failure, match="redirects more than 5 times"):
                await fetcher_for(site).fetch(f"http://good.example:{site.port}/")
            return len(site.requests)

    assert run(work()) == 6


def test_a_redirect_to_nowhere_ends():
    assert "redirects more than" in refused(lambda path: page("", status="302 Found"))


def test_refresh_is_not_followed():
    meta = '<meta http-equiv="refresh" content="0; url=http://bad.example/">x'
    found, site = fetched(lambda path: page(meta, "Refresh: 0; url=http://bad.example/"))
    assert (found.content, len(site.requests)) == (meta.encode(), 1)


# How much is read, and of what.

BOMB_BYTES = 50 << 20


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_not_unpacked(coding):
    packed = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(BOMB_BYTES))
    assert len(packed) < BOMB_BYTES / 900
    text = refused(lambda path: page(packed, f"Content-Encoding: {coding}"))
    assert "more than 5242880 bytes" in text


def test_no_more_of_a_bomb_is_held_than_a_page_may_have():
    packed = gzip.compress(bytes(BOMB_BYTES))

    async def whole():
        yield packed

    tracemalloc.start()
    try:
        with pytest.raises(Failure, match="more than 1000 bytes"):
            run(_received(whole(), "gzip", 1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
def test_other_codings_are_refused(coding):
    text = refused(lambda path: page(b"x", f"Content-Encoding: {coding}"))
    assert "compressed in a way not asked for" in text


def test_a_packed_page_is_unpacked():
    packed = gzip.compress(b"hello " * 1000)
    found, _ = fetched(lambda path: page(packed + b"tail", "Content-Encoding: gzip"))
    assert found.content == b"hello " * 1000


def test_a_damaged_page_is_said_to_be():
    assert "damaged" in refused(lambda path: page(b"no gzip at all", "Content-Encoding: gzip"))


def test_a_page_of_the_largest_size_is_read_and_no_larger():
    found, _ = fetched(lambda path: page(b"x" * 1000), max_bytes=1000)
    assert len(found.content) == 1000
    assert "more than 1000 bytes" in refused(lambda path: page(b"x" * 1001), max_bytes=1000)


async def endless(path):
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    while True:
        yield b"x" * 65536


async def drip(path):
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
    while True:
        yield b"x"
        await asyncio.sleep(0.02)


async def silent(path):
    await asyncio.sleep(30)
    yield b""


async def endless_head(path):
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-Y: " + b"z" * 1000 + b"\r\n"


async def go_ahead(path):
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("answer", [endless, endless_head])
def test_what_has_no_end_is_cut_off(answer):
    refused(answer)


@pytest.mark.parametrize("answer", [drip, silent, go_ahead])
def test_what_is_too_slow_is_given_up(answer):
    start = time.monotonic()
    assert "did not answer in 0.3 seconds" in refused(answer, seconds=0.3)
    assert time.monotonic() - start < 5


def test_redirects_share_one_time():
    async def slow(path):
        await asyncio.sleep(0.15)
        yield redirect("/again")

    assert "did not answer in" in refused(slow, seconds=0.4)


@pytest.mark.parametrize(
    "kind",
    ["text/html", "text/plain", "text/csv", "application/json", "application/ld+json", "text/xml",
     "application/xhtml+xml; charset=x", "application/atom+xml", "APPLICATION/XML"],
)  # fmt: skip
def test_text_is_read(kind):
    assert fetched(lambda path: page("x", kind=kind))[0].content == b"x"


@pytest.mark.parametrize(
    "kind", ["application/pdf", "image/png", "video/mp4", "application/zip", "", "x"]
)
def test_other_types_are_refused_before_they_are_read(kind):
    async def much(path):
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
        await asyncio.sleep(20)

    assert "this is not text" in refused(much)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "403 No", "304 Same"])
def test_other_statuses_are_told(status):
    assert f"answers {status[:3]}" in refused(lambda path: page("x", status=status))


def test_an_empty_answer_is_an_empty_page():
    assert fetched(lambda path: page("", status="204 None"))[0].content == b""


NO_ANSWERS = [
    b"",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: -1\r\n\r\n",
    page("x")[:-1],
    b"\x16\x03\x01\x02" * 9,
]


@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_what_is_no_answer_is_a_failure(answer):
    assert "no answer could be read" in refused(lambda path: answer)


# Certificates.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "good.pem"
    path.write_text(GOOD_EXAMPLE)
    return path


@pytest.fixture
def secure(certificate):
    """Fetch over TLS by a name, from a server that holds the certificate of good.example."""
    seen = []
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda connection, name, context: seen.append(name)

    def work(host, tls):
        async def inside():
            async with serving(lambda path: page("private talk"), tls=server) as site:
                resolve = names(good_example=[PUBLIC], other_example=[PUBLIC])
                fetcher = fetcher_for(site, resolve=resolve, tls=tls)
                return (await fetcher.fetch(f"https://{host}:{site.port}/")).content

        return run(inside())

    work.seen = seen
    return work


def test_the_name_is_asked_for_and_its_certificate_checked(secure, certificate):
    trusting = ssl.create_default_context(cafile=certificate)
    assert secure("good.example", trusting) == b"private talk"
    assert secure.seen == ["good.example"]


def test_the_certificate_of_another_name_is_refused(secure, certificate):
    with pytest.raises(Failure, match="no connection"):
        secure("other.example", ssl.create_default_context(cafile=certificate))


def test_a_certificate_that_nobody_trusts_is_refused(secure):
    with pytest.raises(Failure, match="no connection"):
        secure("good.example", None)


PORTS = frozenset((80, 443))


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("http://a.example", "a.example", 80, "/"),
        ("HTTPS://A.Example./x?y=1#z", "a.example", 443, "/x?y=1"),
        ("https://a.example:443?q", "a.example", 443, "/?q"),
        ("http://a.example:80/a b/ä%20\\@x", "a.example", 80, "/a%20b/%C3%A4%20%5C@x"),
        ("http://[2606:4700::1111]/", "2606:4700::1111", 80, "/"),
        ("http://127.1/", "127.1", 80, "/"),
        ("http://a.example/\ud800", "a.example", 80, "/?"),
    ],
)
def test_a_url_is_taken_apart(url, host, port, target):
    address = parse(url, PORTS)
    assert (address.host, address.port) == (host, port)
    assert address.target in (target, target.replace("?", "%3F"))


def test_the_parts_are_a_url_again():
    assert parse("https://a.example:443/x", PORTS).url == "https://a.example/x"
    address = parse("https://[2606::1]:8443/x", frozenset((8443,)))
    assert address.url == "https://[2606::1]:8443/x"
    assert address.at("2606::2") == "https://[2606::2]:8443/x"


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "//a.example/", "file:///etc/passwd", "ftp://a.example/",
        "data:text/html,x",
        "javascript:alert(1)", "gopher://a.example/", "view-source:file:///etc/passwd",
        "http:/a.example",
        "http://", "http:///x", "http://user@a.example/", "http://user:pw@a.example/",
        "http://good.example\\@127.0.0.1/", "http://good.example\t@127.0.0.1/",
        "http://127.0.0.1\\.a.example/",
        "http://a.example\r\nHost: b/", "http://a.example/\r\nX: y",
        "http://a.example/\x00", "http://a\tb/",
        "\thttp://a.example/", "http://a.example/\n", " http://a.example/", "http://a%2eexample/",
        "http://ａ.example/", "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://a_b.example/",
        "http://a.example:22/", "http://a.example:25/", "http://a.example:6379/",
        "http://a.example:11434/",
        "http://a.example:0/", "http://a.example:99999/", "http://a.example:8O/",
        "http://a.example:/",
        "http://[::1/", "http://::1/", "http://[fe80::1%25eth0]/", "http://[::1]a/",
        "http://a.example:80:80/",
        "http://" + "a" * 300 + "/", "http://a.example/" + "a" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url):
    with pytest.raises(Failure):
        parse(url, PORTS)


@given(st.text(st.sampled_from("htps:/@\\.%[]#?a1 \t\n\x00é"), max_size=30))
def test_no_text_raises_anything_else(text):
    for url in (text, f"http://{text}"):
        try:
            address = parse(url, PORTS)
        except Failure:
            continue
        assert set(address.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-:")
        assert address.target.startswith("/")
        assert address.target.isascii()
        assert address.target.isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255",
        "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1",
        "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::", "2001::1",
        "2001:db8::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1",
        "ff02::1", "100::1",
        "3fff::1", "5f00::1", "", "localhost", "127.1", "2130706433", "0x7f000001",
    ],
)  # fmt: skip
def test_addresses_of_special_use_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_others_are(address):
    assert is_public(address)


@given(st.ip_addresses())
def test_none_is_public_that_python_knows_to_be_special(address):
    judged = getattr(address, "ipv4_mapped", None) or address
    if is_public(str(address)):
        assert judged.is_global
        assert not any((judged.is_multicast, judged.is_loopback, judged.is_link_local))


@given(st.ip_addresses(v=6))
def test_only_ipv6_that_was_given_out_is_public(address):
    if is_public(str(address)) and address.ipv4_mapped is None:
        assert address in ipaddress.ip_network("2000::/3")
