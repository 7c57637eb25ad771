"""Search services, played by a server on loopback."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from ossia.errors import RequestError
from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.providers import Exa, SearXNG, Tavily, You, configured
from tests.tools.browser.web_server import page, redirect, serving

FOUND = [
    {"url": "http://a.example/", "title": "A", "snippets": ["s1", "s2"], "description": "d",
     "highlights": ["h"], "content": "c"},
    {"url": "http://b.example/", "title": None},
    {"title": "no url"}, "nonsense", {"url": 3},
    {"url": "http://c.example/", "title": "C"},
]  # fmt: skip


FLAT = page(json.dumps({"results": FOUND}))


def ask(make, answer=None, query="two words", topn=10):
    """What a service finds, and the head of the request it sent."""

    async def work():
        async with serving(lambda path: answer or FLAT) as site:
            found = await make(f"http://127.0.0.1:{site.port}").search(query, topn)
            return found, site.requests[0]

    return asyncio.run(work())


def at(service):
    """Makes a service whose endpoint is a server of the test."""

    def make(url):
        class Local(service):
            endpoint = url

        return Local("key-123")

    return make


NESTED = page(json.dumps({"results": {"web": FOUND}}))
SERVICES = [
    (at(You), NESTED, "s1 ... s2"),
    (at(Exa), FLAT, "h"),
    (at(Tavily), FLAT, "c"),
    (SearXNG, FLAT, "c"),
]


@pytest.mark.parametrize(("make", "answer", "summary"), SERVICES)
def test_hits_are_read_and_nonsense_passed_over(make, answer, summary):
    found, _ = ask(make, answer)
    assert found == [
        Hit(url="http://a.example/", title="A", summary=summary),
        Hit(url="http://b.example/", title="", summary=""),
        Hit(url="http://c.example/", title="C", summary=""),
    ]
    assert len(ask(make, answer, topn=2)[0]) == 2


@pytest.mark.parametrize(
    ("service", "key"),
    [
        (You, "x-api-key: key-123"),
        (Exa, "x-api-key: key-123"),
        (Tavily, "authorization: bearer key-123"),
    ],
)
def test_a_key_goes_in_a_header_to_its_own_host(service, key):
    answer = NESTED if service is You else page(json.dumps({"results": []}))
    _, head = ask(at(service), answer)
    assert key in head.lower()
    assert head.startswith("POST / HTTP/1.1")
    assert urlsplit(service.endpoint).scheme == "https"


def test_searxng_is_asked_without_a_key():
    _, head = ask(SearXNG, query="a&b=c é\ud800")
    target = head.split(" ")[1]
    assert parse_qs(urlsplit(target).query) == {"q": ["a&b=c é?"], "format": ["json"]}
    assert urlsplit(target).path == "/search"
    assert "key" not in head.lower()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://127.0.0.1:{}/search"])
def test_the_address_of_searxng_may_be_written_either_way(url):
    _, head = ask(lambda base: SearXNG(url.format(base.rpartition(":")[2])))
    assert head.startswith("GET /search?")


def test_a_key_is_taken_along_by_no_redirect():
    async def work():
        async with serving(lambda path: page("{}")) as other:
            answer = redirect(f"http://127.0.0.1:{other.port}/", 307)
            async with serving(lambda path: answer) as site:
                with pytest.raises(Failure, match="answers 307"):
                    await at(Exa)(f"http://127.0.0.1:{site.port}").search("x", 1)
            return other.num_connections

    assert asyncio.run(work()) == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (page("{}", status="401 No"), "refuses the key"),
        (page("{}", status="429 Slow"), "answers 429"),
        (page("no json"), "not understood"),
        (page("[" * 100_000), "not understood"),
        (page("[]"), "not understood"),
        (page('{"results": 3}'), "not understood"),
        (page(b"\xff"), "not understood"),
        (b"nonsense", "no answer could be read"),
        (page(b"x" * (5 << 20)), "too many to read"),
    ],
)
def test_a_service_that_fails_is_named_and_its_key_is_not(answer, message):
    with pytest.raises(Failure, match=message) as failure:
        ask(at(Exa), answer)
    assert "Exa" in str(failure.value)
    assert "key-123" not in str(failure.value)


def test_a_service_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("ossia.tools.browser.providers.SECONDS", 0.2)

    async def silent(path):
        await asyncio.sleep(20)
        yield b""

    async def work():
        async with serving(silent) as site:
            await SearXNG(f"http://127.0.0.1:{site.port}").search("x", 1)

    with pytest.raises(Failure, match="SearXNG cannot be asked: no answer in 0.2 seconds"):
        asyncio.run(work())


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "ä"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(RequestError, match="no key"):
        You(key)


def test_what_is_no_address_is_refused():
    with pytest.raises(RequestError, match="not an address of SearXNG"):
        SearXNG("localhost:8080")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, None),
        ({"EXA_API_KEY": "  "}, None),
        ({"YDC_API_KEY": "k"}, "You.com"),
        ({"EXA_API_KEY": "k"}, "Exa"),
        ({"TAVILY_API_KEY": "k"}, "Tavily"),
        ({"SEARXNG_URL": "http://localhost:8080"}, "SearXNG"),
        ({"SEARXNG_URL": "http://localhost:8080", "EXA_API_KEY": "k", "EXA": "k"}, "Exa"),
    ],
)
def test_the_environment_chooses_a_service(environ, name):
    service = configured(environ)
    assert (service and service.name) == name


def test_a_setting_that_cannot_be_right_is_named_but_a_key_never_shown():
    with pytest.raises(RequestError, match="SEARXNG_URL: localhost is not an address"):
        configured({"SEARXNG_URL": "localhost"})
    with pytest.raises(RequestError, match="EXA_API_KEY: ") as refused:
        configured({"EXA_API_KEY": "sécret"})
    assert "cret" not in str(refused.value)
