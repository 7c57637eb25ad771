"""Searching and opening what was indexed."""

import asyncio
import os
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.errors import StoreError
from ossia.tools.browser.backend import Combined, Failure
from ossia.tools.browser.corpus import Corpus, corpus_url, match_expression
from ossia.tools.browser.indexing import Index
from tests.tools.browser.browsing import Browsing, Shelf, view

FILES = {
    "rivers/nile.md": "# Nile\n\nThe Nile is a river in Africa. See [the Amazon](amazon.md).",
    "rivers/amazon.md": "# Amazon\n\nThe Amazon is a river in South America.",
    "hills.txt": "Hills are low. No water here, only café and stone.",
    "old/tower.html": "<title>Tower</title><p>A tower.<!-- secret river --><script>river</script>",
    "a b/100%.txt": "Percent river",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, text in FILES.items():
        (folder / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "docs" / name).write_text(text)
    (folder / "index").touch()
    with Index(folder / "index") as index:
        index.refresh(index.add(folder / "docs", "facts"))
    return folder / "index"


@pytest.fixture
def corpus(path):
    corpus = Corpus.open(path)
    yield corpus
    corpus.close()


def found(corpus, query, topn=10):
    return [
        hit.url.removeprefix("corpus://facts/") for hit in asyncio.run(corpus.search(query, topn))
    ]


def test_any_word_finds_a_page_and_titles_weigh_most(corpus):
    assert found(corpus, "nile river")[0] == "rivers/nile.md"
    assert set(found(corpus, "nile river")) == {
        "rivers/nile.md", "rivers/amazon.md", "a%20b/100%25.txt",
    }  # fmt: skip


def test_accents_and_case_make_no_difference(corpus):
    assert found(corpus, "CAFE") == ["hills.txt"]


def test_what_no_reader_sees_is_not_found(corpus):
    assert "old/tower.html" not in found(corpus, "secret river script")


def test_results_have_summaries(corpus):
    [hit] = asyncio.run(corpus.search("hills", 5))
    assert (hit.title, hit.summary) == ("hills.txt", FILES["hills.txt"])


def test_topn_bounds_the_results(corpus):
    assert len(found(corpus, "river", 2)) == 2


@pytest.mark.parametrize(
    "query",
    ['"', '""', "river*", "-river", "NEAR(river nile)", "river AND", "title:river", "^river", "(",
     "a OR", "{a b}: c", "river + nile", "'; DROP TABLE files; --", "\x00river", "†", "ri\x00ver",
     "*", "🜁", "\ud800"],
)  # fmt: skip
def test_a_query_is_plain_words_only(corpus, query):
    asyncio.run(corpus.search(query, 10))
    assert found(corpus, "nile")


@given(st.text(max_size=60))
def test_no_query_raises(path, query):
    corpus = Corpus.open(path)
    try:
        asyncio.run(corpus.search(query, 3))
    finally:
        corpus.close()


def test_words_are_quoted_and_counted_once():
    assert match_expression('say "hi" Say 5%') == '"say" OR """hi""" OR "5%"'
    assert match_expression(" - ") == ""
    assert match_expression(" ".join(map(str, range(99)))).count(" OR ") == 31


def test_a_page_is_read_by_its_address_quoted_or_not(corpus):
    for url in (corpus_url("facts", "a b/100%.txt"), "corpus://facts/a b/100%25.txt"):
        page = asyncio.run(corpus.fetch(url))
        assert (page.url, page.title) == ("corpus://facts/a%20b/100%25.txt", "100%.txt")
        assert page.lines == (f"URL: {page.url}", "", "Percent river")


@pytest.mark.parametrize(
    "url",
    ["corpus://facts/../../etc/passwd", "corpus://facts//etc/passwd", "corpus:facts", "corpus://",
     "corpus://facts/rivers/../hills.txt", "corpus://facts/%2e%2e/hills.txt", "corpus:///etc/passwd",
     "corpus://facts/", "corpus://facts/%ff", "corpus://[/x", "corpus://FACTS/hills.txt",
     "corpus://facts/\ud800", "corpus://facts/%00", "file:///etc/passwd", "http://a.example/"],
)  # fmt: skip
def test_only_what_was_indexed_can_be_opened(corpus, url):
    with pytest.raises(Failure, match="corpus"):
        asyncio.run(corpus.fetch(url))


def test_links_between_documents_can_be_followed(corpus):
    browsing = Browsing(corpus)
    browsing.search("nile")
    assert "See 【0†the Amazon】." in view(browsing.open(id=0))
    result = browsing.open(id=0)
    assert result.origin == "facts"
    assert "[2] Amazon (corpus://facts/rivers/amazon.md)" in view(result)


def test_the_tool_cannot_write(corpus):
    with pytest.raises(sqlite3.OperationalError, match="readonly|read-only|attempt to write"):
        corpus._connection.execute("DELETE FROM files")


def test_a_renewed_index_is_seen_at_once(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("apples")
    (tmp_path / "index").touch()
    with Index(tmp_path / "index") as index:
        name = index.add(tmp_path / "docs")
        index.refresh(name)
        corpus = Corpus.open(tmp_path / "index")
        (tmp_path / "docs" / "b.txt").write_text("apples and pears")
        index.refresh(name)
    assert len(asyncio.run(corpus.search("apples", 5))) == 2
    corpus.close()


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(StoreError, match="there is no index"):
        Corpus.open(tmp_path / "none")
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        Corpus.open(tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE x (y)")
    with pytest.raises(StoreError, match="not an index of this ossia"):
        Corpus.open(tmp_path / "other")


def test_a_damaged_index_fails_the_call_not_the_conversation(path, tmp_path):
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    corpus = Corpus.open(copy)
    with open(copy, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(copy.stat().st_size - 4096))
    result = Browsing(corpus).search("river")
    assert result.is_error
    assert "the corpus cannot be read now" in result.text
    assert corpus.reads_private  # nobody can tell
    corpus.close()


# Several at once.


def test_results_of_several_backends_are_mixed(corpus):
    shelf = Shelf({"http://a.example/1": "river", "http://a.example/2": "river"})
    hits = asyncio.run(Combined((shelf, corpus)).search("river", 3))
    assert [hit.url[:9] for hit in hits] == ["http://a.", "corpus://", "http://a."]


def test_a_url_goes_to_the_backend_that_serves_it(corpus):
    both = Combined((corpus, Shelf({"http://a.example/1": "x"})))
    assert asyncio.run(both.fetch("http://a.example/1")).url == "http://a.example/1"
    assert asyncio.run(both.fetch("corpus://facts/hills.txt")).title == "hills.txt"
    assert (both.reads_private, both.serves("ftp://x")) == (False, True)
    assert not both.reaches_out
    with pytest.raises(Failure, match="no page can be opened"):
        asyncio.run(Combined((corpus,)).fetch("http://a.example/1"))


class Broken(Shelf):
    async def search(self, query, topn):
        raise Failure("the search service is away")


def test_a_search_fails_only_where_all_backends_do(corpus):
    assert asyncio.run(Combined((Broken({}), corpus)).search("hills", 3))
    with pytest.raises(Failure, match="away"):
        asyncio.run(Combined((Broken({}), Broken({}))).search("hills", 3))
