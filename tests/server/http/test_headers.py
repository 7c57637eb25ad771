"""The head of a request, before anyone acts on it: here with servers other than uvicorn in mind."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.server.api.errors import HttpError
from ossia.server.http.headers import (
    AllowedHosts,
    Authority,
    RequestHead,
    body_length,
    check_content,
    check_names,
    check_size,
    parse_authority,
    parse_origin,
)

NAMES = st.sampled_from(
    ["host", "origin", "content-length", "transfer-encoding", "content-type", "upgrade",
     "sec-fetch-site", "content-encoding", "x"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["", "localhost", "localhost:8000", "http://localhost", "null", "5", "-1", "+5", "0", "chunked",
     "application/json", "text/plain", "gzip", "identity", "websocket", "same-origin", "1" * 30,
     "٣"]
) | st.text(max_size=9)  # fmt: skip


def head(*fields, method="POST", path="/", **scope):
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields]
    found = {"method": method, "path": path, "query_string": b"", "headers": raw, **scope}
    return RequestHead.of(found)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["GET", "POST"]))
def test_any_head_passes_or_is_refused_in_words(fields, method):
    found = head(*fields, method=method)
    try:
        check_size(found, max_url_bytes=100, max_bytes=1000, max_fields=100)
        check_names(found, AllowedHosts(()))
        length = body_length(found)
        check_content(found, length)
    except HttpError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert 400 <= refusal.status < 500
        return
    [host] = found.fields["host"]
    assert host.startswith("localhost")
    assert length is None or length >= 0
    if length != 0:
        [media] = found.fields["content-type"]
        assert media.partition(";")[0].strip().lower() == "application/json"


@pytest.mark.parametrize("length", ["-1", "+5", "0x5", "5, 5", "", " 5", "٣", "1" * 19])
def test_a_length_that_is_no_number_is_refused(length):
    with pytest.raises(HttpError, match="content-length must be one whole number"):
        body_length(head(("content-length", length)))


def test_a_body_in_chunks_does_not_say_how_long_it_is():
    assert body_length(head(("transfer-encoding", "Chunked"))) is None
    assert body_length(head()) == 0
    assert body_length(head(("content-length", "12"))) == 12


def test_a_head_is_measured_as_it_came():
    found = head(("Host", "a"), ("host", "b"), path="/a b", raw_path=b"/a%20b", query_string=b"c=d")
    assert found.url_bytes == len("/a%20b?c=d")
    assert found.fields == {"host": ("a", "b")}
    assert (found.num_fields, found.fields_bytes) == (2, 18)


def test_a_scope_without_addresses_has_none():
    assert (head().reached, head().client) == ("", "")
    found = head(client=("1.2.3.4", 5), server=("::1", 8000))
    assert (found.reached, found.client) == ("::1", "1.2.3.4")


PIECES = [
    "localhost", "127.0.0.1", "[::1]", "::1", "evil.example", ".", ":", "8000", "@", "/", "[", "]",
    " ", "%", "0", "\t", "#", "?", "\\", "\x00", "127.1", "é", "LOCALHOST", "0.0.0.0", "[::]", ",",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("localhost", Authority("localhost", None)),
        ("LocalHost:8000", Authority("localhost", 8000)),
        ("127.0.0.1:65535", Authority("127.0.0.1", 65535)),
        ("[::1]:8000", Authority("::1", 8000)),
        ("[0:0:0:0:0:0:0:1]", Authority("::1", None)),
        ("a_b-c.example", Authority("a_b-c.example", None)),
    ],
)
def test_a_host_is_read(text, found):
    assert parse_authority(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "localhost ", "localhost:", "localhost:0", "localhost:080", "localhost:65536",
        "localhost:+80", "localhost:８０", "127.0.0.1:8000@evil", "user@localhost", "localhost/",
        "localhost.", ".localhost", "::1", "[::1", "[::1]8000", "[::g]", "[127.0.0.1]", "a,b",
        "http://localhost", "ⓛocalhost", "localhost\x00", "a" * 260,
    ],
)  # fmt: skip
def test_an_odd_spelling_is_no_host(text):
    assert parse_authority(text) is None


@given(TEXTS)
def test_what_passes_for_loopback_is_spelt_so(text):
    found = parse_authority(text)
    if found is not None and AllowedHosts(()).is_ours(found, "127.0.0.1"):
        assert re.fullmatch(
            r"(localhost|127\.0\.0\.1|\[[0:.]+1\])(:[1-9][0-9]{0,4})?", text, re.IGNORECASE
        )


@given(TEXTS, TEXTS)
def test_a_page_is_ours_only_if_it_is_where_it_asks(page, host):
    came, target = parse_origin("http://" + page), parse_authority(host)
    if came is not None and target is not None and AllowedHosts(()).is_own_page(came, target):
        assert came.host == target.host
        assert came.port == (target.port or 80)


@given(TEXTS)
def test_no_text_is_an_error(text):
    for found in (parse_authority(text), parse_origin(text), parse_origin("https://" + text)):
        assert found is None or found.host == found.host.lower()


@pytest.mark.parametrize(
    "text", ["null", "", "http://", "file://localhost", "ftp://a", "http://a/b", "HTTP://a", "//a"]
)
def test_what_is_no_web_page_has_no_origin(text):
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("host", "reached", "ours"),
    [
        ("localhost:1", "127.0.0.1", True),
        ("[::1]", "127.0.0.1", True),
        ("192.168.1.5:8000", "192.168.1.5", True),
        ("[fe80::1]", "fe80::1%eth0", True),
        ("192.168.1.6", "192.168.1.5", False),
        ("0.0.0.0:8000", "127.0.0.1", False),
        ("0.0.0.0", "0.0.0.0", False),
        ("[::]", "::1", False),
        ("127.0.0.2", "127.0.0.1", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("ai.example", "10.0.0.1", True),
        ("ai.example:99", "10.0.0.1", True),
        ("box.example:8443", "10.0.0.1", True),
        ("box.example", "10.0.0.1", False),
    ],
)
def test_which_hosts_are_ours(host, reached, ours):
    names = AllowedHosts(("ai.example", "box.example:8443"))
    assert names.is_ours(parse_authority(host), reached) is ours


@pytest.mark.parametrize(
    ("page", "host", "ours"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://localhost", "localhost", True),
        ("https://localhost", "localhost:443", True),
        ("https://localhost", "localhost", True),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:9999", "127.0.0.1:8000", False),
        ("http://localhost.evil", "localhost:8000", False),
        ("https://ai.example", "127.0.0.1:8000", True),
        ("http://ai.example:99", "127.0.0.1:8000", False),
        ("https://box.example:8443", "127.0.0.1:8000", True),
        ("https://box.example", "127.0.0.1:8000", False),
    ],
)
def test_which_pages_are_our_own(page, host, ours):
    names = AllowedHosts(("ai.example", "box.example:8443"))
    assert names.is_own_page(parse_origin(page), parse_authority(host)) is ours


@pytest.mark.parametrize("name", ["0.0.0.0", "[::]:80", "http://a", "*", ""])
def test_an_operator_cannot_allow_what_is_no_name(name):
    with pytest.raises(ValueError, match="is not a host name"):
        AllowedHosts((name,))
