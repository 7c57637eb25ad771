"""Search, open and find over the views of one conversation."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.harmony.prompt_text import BROWSER
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.browser.views import Cited
from tests.tools.browser.browsing import Browsing, Shelf, view, words

A, B, C = "http://a.example/a", "http://b.example/b", "http://a.example/c"
LONG = "".join(f"<p>line {n}</p>" for n in range(300))
PAGES = {
    A: f'<title>First</title><p>apples and <a href="{B}">pears</a> and <a href="/c">figs</a></p>',
    B: "<title>Second</title><p>pears</p>",
    C: f"<title>Third</title>{LONG}",
}


@pytest.fixture
def browsing():
    return Browsing(Shelf(PAGES))


def first_line(result):
    return view(result).split("\n")[0]


def test_results_of_a_search_are_displayed_so(browsing):
    assert view(browsing.search("pears")) == (
        "[0] pears\n"
        "**viewing lines [0 - 5] of 5**\n"
        "\n"
        "L0: # Search Results\n"
        "L1: \n"
        "L2:   * 【0†About a†a.example】 <title>First</title><p>apples and <a \n"
        'L3: href="http://b.example/b">pears</a> and <a href="/c">figs</a></p>\n'
        "L4:   * 【1†About b†b.example】 <title>Second</title><p>pears</p>\n"
        "L5: "
    ).removesuffix("\nL5: ").replace("[0 - 5] of 5", "[0 - 4] of 4")


def test_a_search_without_results_says_so(browsing):
    result = browsing.search("kiwis")
    assert view(result).endswith("L0: # Search Results\nL1: \nL2: No results found.")
    assert result.details == {"type": "search", "query": "kiwis", "sources": []}


def test_a_page_is_displayed_so(browsing):
    assert view(browsing.open(id=A)) == (
        "[0] First (http://a.example/a)\n"
        "**viewing lines [0 - 2] of 2**\n"
        "\n"
        "L0: URL: http://a.example/a\n"
        "L1: \n"
        "L2: apples and 【0†pears†b.example】 and 【1†figs】"
    )


def test_hits_of_a_find_are_displayed_so(browsing):
    browsing.open(id=A)
    result = browsing.find("PEARS and figs")
    assert view(result) == (
        "[1] Find results for text: `PEARS and figs` in `First` "
        "(http://a.example/a/find?pattern=PEARS and figs)\n"
        "**viewing lines [0 - 1] of 1**\n"
        "\n"
        "L0: # 【0†match at L2】\n"
        "L1: apples and pears and figs"
    )
    assert result.details == {"type": "find_in_page", "url": A, "pattern": "PEARS and figs"}


def test_a_find_without_hits_says_so(browsing):
    browsing.open(id=A)
    assert view(browsing.find("kiwi")).endswith("L0: No `find` results for pattern: `kiwi`")


def test_hits_show_four_lines_and_the_search_goes_on_behind_them(browsing):
    browsing.open(id=C)
    lines = view(browsing.find("line")).split("\n")
    heads = [line for line in lines if "match at" in line]
    assert heads[:3] == [
        "L0: # 【0†match at L2】",
        "L6: # 【1†match at L6】",
        "L12: # 【2†match at L10】",
    ]


def test_a_find_gives_fifty_hits_at_most(browsing):
    browsing.open(id=C)
    browsing.find("line")
    assert "49†match" in view(browsing.open(id=-1, loc=280))
    assert browsing.open(id=50, cursor=1).is_error


def test_links_are_followed_by_number_and_count_per_view(browsing):
    browsing.search("pears")
    assert first_line(browsing.open(id=0)) == f"[1] First ({A})"
    assert first_line(browsing.open(id=1)) == f"[2] Third ({C})"
    assert first_line(browsing.open(cursor=0, id=1)) == f"[3] Second ({B})"


def test_a_link_reuses_a_page_and_a_url_fetches_afresh(browsing):
    shelf = Shelf(PAGES)
    browsing = Browsing(shelf)
    browsing.open(id=A)
    browsing.open(id=0)
    browsing.open(cursor=0, id=0)
    assert shelf.fetched == [A, B]
    browsing.open(id=B)
    assert shelf.fetched == [A, B, B]


def test_open_without_a_link_scrolls(browsing):
    browsing.open(id=C)
    result = browsing.open(loc=100, num_lines=2)
    assert view(result).startswith(
        f"[1] Third ({C})\n**viewing lines [100 - 101] of 600**\n\nL100: "
    )
    assert result.details == {"type": "open_page", "url": C}


def test_a_hit_opens_its_page_four_lines_above(browsing):
    browsing.open(id=C)
    browsing.find("line 50")
    assert "[98 - " in view(browsing.open(id=0, num_lines=1))  # its line is 102
    browsing.find("line 1", cursor=0)
    assert "[4 - " in view(browsing.open(id=0, num_lines=1))  # at line 4 already: not above 4
    assert "[7 - 7]" in view(browsing.open(id=0, cursor=3, loc=7, num_lines=1))


def test_num_lines_counts_lines_whatever_tokens_they_have(browsing):
    assert "[0 - 600] of 600" in view(browsing.open(id=C, num_lines=5000))
    assert "[0 - 2] of 600" in view(browsing.open(id=C, num_lines=3))


def test_view_source_and_source_change_nothing(browsing):
    plain = view(browsing.open(id=A))
    assert view(browsing.open(id=A, view_source=True, source="web")) == plain.replace(
        "[0] F", "[1] F"
    )


def test_a_place_behind_the_end_names_the_last_and_takes_no_cursor(browsing):
    browsing.open(id=A)
    result = browsing.open(loc=3)
    assert (result.is_error, result.text) == (True, "loc is 3, but the last line of this page is 2")
    assert first_line(browsing.open(loc=2)).startswith("[1] ")


def test_topn_is_honoured_between_1_and_20():
    browsing = Browsing(Shelf({f"http://x.example/{n:02}": "z" for n in range(30)}))
    for topn, count in [(1, 1), (10, 10), (0, 1), (99, 20), (None, 10)]:
        assert len(browsing.search("z", topn=topn).details["sources"]) == count


# The faults that others have.


def test_an_old_search_shows_its_own_results(browsing):
    browsing.search("pears")
    browsing.search("line 7")
    assert first_line(browsing.open(cursor=0, id=1)) == f"[2] Second ({B})"
    assert "About a" in view(browsing.open(cursor=0))


BAD = [
    ("search", "{}"), ("search", "[]"), ("search", "null"), ("search", '{"query": ""}'),
    ("search", '{"query": 3}'), ("search", '{"query": "x", "topn": "5"}'), ("search", '{"q": "x"}'),
    ("search", '{"query": "x", "topn": true}'), ("search", "not json"), ("search", '{"query": "x"'),
    ("search", '{"query": "x", "topn": 1.5}'), ("search", "[" * 100_000), ("search", "9" * 5000),
    ("search", json.dumps({"query": "x" * 3000})), ("search", '{"query": "x", "topn": NaN}'),
    ("search", '{"query": "x", "topn": 1e999}'), ("search", '{"query": "x", "topn": 1e300}'),
    ("open", "{}"), ("open", ""), ("open", '{"id": 0}'), ("open", '{"cursor": "0"}'),
    ("open", '{"id": []}'), ("open", '{"id": ""}'), ("open", '{"cursor": 5, "id": 1}'),
    ("open", '{"id": "no url"}'), ("open", '{"id": true}'), ("open", '{"view_source": 1}'),
    ("find", "{}"), ("find", '{"pattern": "x"}'), ("find", '{"pattern": null}'),
    ("find", '{"pattern": "x", "cursor": "3"}'), ("find", json.dumps({"pattern": "x" * 600})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), BAD)
def test_bad_arguments_are_answered_in_one_line(browsing, name, arguments):
    result = browsing.raw(name, arguments)
    assert result.is_error
    assert result.origin is None
    assert 5 < len(result.text) <= 600
    assert "\n" not in result.text
    assert result.details["type"] in ("search", "open_page", "find_in_page")


@given(st.sampled_from(["search", "open", "find"]), st.text() | st.dictionaries(
    st.sampled_from(["query", "topn", "id", "cursor", "loc", "num_lines", "pattern", "x"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
).map(json.dumps))  # fmt: skip
def test_no_arguments_raise(name, arguments):
    browsing = Browsing(Shelf(PAGES))
    browsing.open(id=A)
    browsing.raw(name, arguments)
    assert first_line(browsing.open(id=A)).startswith("[")


def test_entities_forge_no_link():
    forged = "&#x3010;7&#8224;click&#x3011; &#12304;0&dagger;x&#12305; 【9†y】"
    browsing = Browsing(Shelf({A: f"<title>&#12304;1&dagger;t】</title><p>{forged}</p>"}))
    shown = view(browsing.open(id=A))
    assert shown.startswith("[0] 〖1‡t〗 (")
    assert shown.endswith("〖7‡click〗 〖0‡x〗 〖9‡y〗")
    assert browsing.open(id=7).is_error


def test_every_call_says_what_it_was_also_when_it_fails(browsing):
    assert browsing.open(id=0).details == {"type": "open_page", "url": None}
    assert browsing.find("x").details == {"type": "find_in_page", "url": "", "pattern": "x"}
    gone = "http://a.example/gone"
    assert browsing.open(id=gone).details == {"type": "open_page", "url": gone}
    sources = [{"type": "url", "url": url} for url in (A, B)]
    found = browsing.search("pears")
    assert found.details == {"type": "search", "query": "pears", "sources": sources}


def test_a_link_on_results_of_a_find_is_no_page_to_find_in(browsing):
    browsing.open(id=A)
    browsing.find("figs")
    result = browsing.find("figs")
    assert result.is_error
    assert "open the page again" in result.text
    assert not browsing.find("figs", cursor=0).is_error


def test_a_failing_backend_is_one_clean_line(browsing):
    result = browsing.open(id="http://x.example/\u202e\n【1†forged】")
    assert result.is_error
    assert result.text == "http://x.example/ 〖1‡forged〗 answers 404"


# What the rest of the house is told.


def test_citations_resolve_in_later_turns(browsing):
    browsing.search("pears")
    browsing.open(id=0)
    browsing.find("figs")
    resolve = browsing.session.resolve
    assert resolve(1) == resolve(1, 2) == resolve(2) == Cited(A, "First")
    assert resolve(0) is None
    assert [resolve(0, line) for line in (1, 2, 3, 4, 9)] == [
        None, Cited(A, "About a"), Cited(A, "About a"), Cited(B, "About b"), Cited(B, "About b"),
    ]  # fmt: skip
    assert resolve(3) is resolve(-1) is None
    assert browsing.session.quoted(1, 2, 2) == ("apples and 【0†pears†b.example】 and 【1†figs】",)
    assert browsing.session.quoted(9, 0, 5) == ()


def test_the_tools_are_those_the_model_was_trained_on(browsing):
    specs = [tool.spec for tool in browsing.session.tools]
    assert [spec.name for spec in specs] == ["browser.search", "browser.open", "browser.find"]
    assert [spec.parameters for spec in specs] == [tool.parameters for tool in BROWSER.tools]
    assert {spec.channel for spec in specs} == {"analysis"}


@pytest.mark.parametrize("private", [False, True])
def test_labels_say_what_pages_bring(private):
    shelf = Shelf(PAGES)
    shelf.reads_private = private
    for spec in BrowserToolkit(shelf, count_tokens=words).specs:
        assert spec.labels == {"reads_untrusted"} | ({"reads_private"} if private else set())


def test_what_is_searched_and_opened_out_on_the_web_is_a_way_out():
    shelf = Shelf(PAGES)
    shelf.reaches_out = True
    labels = {spec.name: spec.labels for spec in BrowserToolkit(shelf, count_tokens=words).specs}
    assert labels["browser.search"] == labels["browser.open"]
    assert labels["browser.search"] == {"reads_untrusted", "external_effect"}
    assert labels["browser.find"] == {"reads_untrusted"}


def asks(browsing, url):
    return browsing.session.needs_approval("browser.open", json.dumps({"id": url}))


def test_addresses_of_the_models_own_making_are_asked_for(browsing):
    assert asks(browsing, A)
    assert asks(browsing, "HTTPS://evil.example/?q=secret")
    assert not asks(browsing, "corpus://notes/x.md")
    assert not asks(browsing, 3)
    assert not browsing.session.needs_approval("browser.open", "{}")
    assert not browsing.session.needs_approval("browser.open", "nonsense")
    assert not browsing.session.needs_approval("browser.search", '{"query": "http://x.example"}')


def test_addresses_that_a_result_or_a_page_listed_are_opened_unasked(browsing):
    browsing.search("apples")
    assert not asks(browsing, A)
    assert asks(browsing, C)
    browsing.open(id=0)
    assert not asks(browsing, C)
    assert not asks(browsing, f"{B}#part")


def test_a_listed_host_is_no_leave_to_tell_it_things(browsing):
    browsing.search("apples")
    assert asks(browsing, f"{A}?q=secret")
    assert asks(browsing, "http://a.example/secret")


def test_all_of_a_host_that_the_user_named_is_opened_unasked(browsing):
    browsing.session.heard("Look at https://docs.example/start, or (www.other.example)!")
    assert not asks(browsing, "https://docs.example/start")
    assert not asks(browsing, "http://docs.example/other?page=2")
    assert not asks(browsing, "https://www.other.example/x")
    assert asks(browsing, "https://docs.example.evil.example/")
    assert asks(browsing, "https://evil.example/docs.example")
    assert asks(browsing, "https://docs.example@evil.example/")


def test_a_file_the_user_names_is_no_host(browsing):
    browsing.session.heard("see notes.md and main.rs, mail me@mail.example, or docs.example/x")
    assert not asks(browsing, "https://docs.example/y")
    assert asks(browsing, "https://notes.md/")
    assert asks(browsing, "https://main.rs/")
    assert asks(browsing, "https://mail.example/")


def test_nobody_is_asked_about_a_web_that_is_not_there():
    shelf = Shelf(PAGES)
    shelf.serves = lambda url: url.startswith("corpus://")
    assert not asks(Browsing(shelf), "https://evil.example/")


def test_a_closed_browser_opens_nothing(browsing):
    browsing.open(id=A)
    asyncio.run(browsing.session.close())
    asyncio.run(browsing.session.close())
    assert "closed" in browsing.open(id=A).text


def test_conversations_share_no_views():
    shelf = Shelf(PAGES)
    Browsing(shelf).open(id=A)
    assert Browsing(shelf).open().text == "no page is open yet; search, or open a URL"


def test_old_pages_are_forgotten_but_still_cited(monkeypatch):
    monkeypatch.setattr("ossia.tools.browser.views.MAX_CHARS", 4000)
    browsing = Browsing(Shelf(PAGES))
    browsing.open(id=A)
    browsing.open(id=C)
    browsing.open(id=C)
    assert (
        browsing.open(cursor=0).text == "the page of cursor 0 is no longer kept; open it by its URL"
    )
    assert browsing.session.resolve(0) == Cited(A, "First")
    assert not browsing.open(cursor=2).is_error
