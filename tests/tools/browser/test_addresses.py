"""Which URLs are taken apart, and which addresses are public."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.browser.addresses import is_public, parse
from ossia.tools.browser.backend import Failure

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
