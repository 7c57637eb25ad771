"""Host and Origin are read one way only."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.server.addresses import Authority, OurNames, authority, origin

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
    assert authority(text) == found


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
    assert authority(text) is None


@given(TEXTS)
def test_what_passes_for_loopback_is_spelt_so(text):
    found = authority(text)
    if found is not None and OurNames(()).is_ours(found, "127.0.0.1"):
        assert re.fullmatch(
            r"(localhost|127\.0\.0\.1|\[[0:.]+1\])(:[1-9][0-9]{0,4})?", text, re.IGNORECASE
        )


@given(TEXTS, TEXTS)
def test_a_page_is_ours_only_if_it_is_where_it_asks(page, host):
    came, asked = origin("http://" + page), authority(host)
    if came is not None and asked is not None and OurNames(()).is_own_page(came, asked):
        assert came.host == asked.host
        assert came.port == (asked.port or 80)


@given(TEXTS)
def test_no_text_is_an_error(text):
    for found in (authority(text), origin(text), origin("https://" + text)):
        assert found is None or found.host == found.host.lower()


@pytest.mark.parametrize(
    "text", ["null", "", "http://", "file://localhost", "ftp://a", "http://a/b", "HTTP://a", "//a"]
)
def test_what_is_no_web_page_has_no_origin(text):
    assert origin(text) is None


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
    names = OurNames(("ai.example", "box.example:8443"))
    assert names.is_ours(authority(host), reached) is ours


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
    names = OurNames(("ai.example", "box.example:8443"))
    assert names.is_own_page(origin(page), authority(host)) is ours


@pytest.mark.parametrize("name", ["0.0.0.0", "[::]:80", "http://a", "*", ""])
def test_an_operator_cannot_allow_what_is_no_name(name):
    with pytest.raises(ValueError, match="is no host name"):
        OurNames((name,))
