"""The web as a backend: fetched, read apart, displayed."""

import asyncio

import pytest

from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.browser.web import Web
from tests.tools.browser.browsing import Browsing, view, words
from tests.tools.browser.web_server import PUBLIC, fetcher_for, names, page, serving


class Finds:
    """A search service that finds one page."""

    def __init__(self, url):
        self.url = url

    async def search(self, query, topn):
        return [Hit(url=self.url, title="Found", summary="it")][:topn]


def opened(answer, host="good.example", path="/", **known):
    """A page as `fetch` gives it, and what the server was asked."""

    async def work():
        async with serving(lambda path: answer) as site:
            resolve = names(**(known or {"good_example": [PUBLIC]}))
            web = Web(Finds(""), fetcher_for(site, resolve=resolve))
            return await web.fetch(f"http://{host}:{site.port}{path}"), site

    return asyncio.run(work())


def test_a_page_is_read_by_its_type():
    html, _ = opened(page("<title>T</title><p>a<script>b</script>"))
    assert (html.title, html.lines[2:]) == ("T", ("a",))
    markdown, _ = opened(page("# M\n[x](y)", kind="text/markdown"))
    assert (markdown.title, markdown.lines[2:]) == ("M", ("# M", "【0†x】"))
    plain, _ = opened(page("<p>x", kind="text/plain"), path="/a%20file.txt?x")
    assert (plain.title, plain.lines[2:]) == ("a file.txt", ("<p>x",))


def test_the_charset_of_the_answer_counts():
    read, _ = opened(page("é".encode("latin-1"), kind="text/plain; charset=iso-8859-1"))
    assert read.lines[-1] == "é"


def test_arxiv_is_read_where_it_is_html(monkeypatch):
    requests = []

    class Fetches:
        async def fetch(self, url):
            requests.append(url)
            raise Failure("enough")

    web = Web(Finds(""), Fetches())
    for url in (
        "https://arxiv.org/abs/1706.03762",
        "http://WWW.arxiv.org/x",
        "https://arxiv.org.evil.example/",
    ):
        with pytest.raises(Failure):
            asyncio.run(web.fetch(url))
    assert requests == [
        "https://ar5iv.org/abs/1706.03762", "http://ar5iv.org/x", "https://arxiv.org.evil.example/",
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["corpus://x/y", "file:///etc/passwd", "x"])
def test_only_web_addresses_are_served(url):
    web = Web(Finds(""), None)
    assert not web.serves(url)
    with pytest.raises(Failure, match="not a web address"):
        asyncio.run(web.fetch(url))


def test_a_page_that_takes_too_long_to_read_is_given_up(monkeypatch):
    from ossia.tools.browser import web

    real = web.read_apart
    monkeypatch.setattr(web, "read_apart", lambda *what: real(*what, seconds=0.2))
    with pytest.raises(Failure, match="takes too long"):
        opened(page("<br>" * 1_000_000))


def test_search_and_open_work_together():
    async def work():
        async with serving(lambda path: page(f"<title>T</title>at {path}")) as site:
            url = f"http://good.example:{site.port}/x"
            web = Web(Finds(url), fetcher_for(site))
            session = await BrowserToolkit(web, count_tokens=words).open()
            search, open_, _ = session.tools
            found = await search.call('{"query": "q"}')
            read = await open_.call('{"id": 0}')
            asks = [
                session.needs_approval("browser.open", f'{{"id": "{u}"}}')
                for u in (url, f"{url}?q")
            ]
            return found, read, asks, site.port

    found, read, asks, port = asyncio.run(work())
    assert found.origin == read.origin == f"good.example:{port}"
    assert view(read).endswith("L2: at /x")
    assert asks == [False, True]


def test_what_may_not_be_reached_is_said_in_one_line():
    result = Browsing(Web(Finds(""), fetcher_for())).open(id="http://127.0.0.1/")
    assert result.is_error
    assert result.text == "port 80 may not be opened; allowed are:"
