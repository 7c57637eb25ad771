import itertools

from hypothesis import given
from hypothesis import strategies as st

from ossia.server.responses.citations import Citations, CitedPage, resolver

PAGES = {1: CitedPage("https://a.b/x", "A", "a.b"), 20: CitedPage("https://c.d/(y)", "C", "c.d")}
TEXTS = st.lists(
    st.sampled_from(
        ["【", "1", "20", "3", "†", "L3-L9", "】", "【1†L3-L9】", "【20†x】", "【3†L1】", "é", " "]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


def rewritten(*pieces):
    citations = Citations(lambda number, line: PAGES.get(number))
    shown, cited = [], []
    for piece in pieces:
        text, more = citations.push(piece)
        shown.append(text)
        cited += more
    return "".join(shown) + citations.close(), cited


@given(TEXTS, st.lists(st.integers(0, 60), max_size=6))
def test_how_the_text_is_cut_changes_nothing(text, cuts):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[begin:end] for begin, end in itertools.pairwise(places)]
    assert rewritten(*pieces) == rewritten(text)


@given(TEXTS)
def test_each_annotation_covers_its_link(text):
    new, cited = rewritten(text)
    for each in cited:
        link = new[each["start_index"] : each["end_index"]]
        assert link.startswith("([")
        assert link.endswith("))")
        assert each["url"].replace("(", "%28").replace(")", "%29") in link
    assert "【1†L3-L9】" not in new
    assert "【20†x】" not in new


def test_a_mark_becomes_a_link_to_its_page():
    new, cited = rewritten("é【1†L3-L9】.")
    assert new == "é ([a.b](https://a.b/x)) ."
    assert cited == [
        {
            "type": "url_citation",
            "start_index": 2,
            "end_index": 24,
            "title": "A",
            "url": "https://a.b/x",
        }
    ]


def test_a_parenthesis_in_an_address_does_not_end_the_link():
    assert rewritten("【20†L1】")[0] == " ([c.d](https://c.d/%28y%29)) "


def test_an_unknown_mark_stays():
    assert rewritten("a【3†L1】b") == ("a【3†L1】b", [])


def test_an_unfinished_mark_is_held_back():
    citations = Citations(PAGES.get)
    assert citations.push("See 【1†L") == ("See ", [])
    assert citations.push("3】")[0] == " ([a.b](https://a.b/x)) "
    assert citations.close() == ""


def test_what_never_became_a_mark_is_said_at_the_end():
    citations = Citations(PAGES.get)
    assert citations.push("【1†") == ("", [])
    assert citations.close() == "【1†"


def test_brackets_around_other_text_do_not_wait():
    assert Citations(PAGES.get).push("【重要")[0] == "【重要"
    long = "【1†" + "x" * 65
    assert Citations(PAGES.get).push(long)[0] == long


def test_a_mark_tells_its_first_line_to_the_one_who_knows_the_pages():
    resolved = []
    citations = Citations(lambda *cited: resolved.append(cited))
    marks = "【4†L3-L9】【5†L3】【6†what】"
    assert citations.push(marks) == (marks, [])
    assert resolved == [(4, 3), (5, 3), (6, None)]


def test_what_is_found_by_its_number_is_cited_by_its_domain():
    found = {1: ("https://a.b/x", "A"), 2: ("corpus://notes/y", "B"), 3: ("odd", "C")}
    resolve = resolver(lambda number, line: found.get(number))
    assert resolve(1, None) == CitedPage("https://a.b/x", "A", "a.b")
    assert [resolve(number, 4).domain for number in (2, 3)] == ["notes", "odd"]
    assert resolve(4, None) is None
