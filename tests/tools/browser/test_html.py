"""Web pages as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.browser.html import read_html

URL = "https://a.example/dir/page.html"


def text(markup):
    return read_html(markup, URL).text


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>one<p>two", "one\n\ntwo"),
        ("a  \n b<br>c", "a b\nc"),
        ("<h2>Title</h2>text", "## Title\n\ntext"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", "  * a\n  * b\n\n    * c"),
        ("<ol><li>a</li><li>b</li></ol>", "  1. a\n  2. b"),
        ("<blockquote><p>words</p></blockquote>after", "> words\n\nafter"),
        ("<pre>a\n  b</pre>", "    a\n      b"),
        ("<table><tr><th>x<th>y<tr><td>1<td>2</table>", "x | y\n1 | 2"),
        ("x<sup>2</sup> H<sub>2</sub>O", "x^{2} H_{2}O"),
        ("a<hr>b", "a\n\n* * *\n\nb"),
        (
            "<img alt='A  cat' src=x><img src=y alt=dog><img src=z>",
            "[Image 0: A cat][Image 1: dog]",
        ),
        ("a <math><mi>x</mi></math> b", "a b"),
        ("&lt;b&gt; &amp; &nbsp;x &unknown; &#128512;", "<b> & x &unknown; 😀"),
        ("1 < 2 and 3 <4", "1 < 2 and 3 <4"),
        ("a<!-- x --><!-->b<!-- y", "ab"),
        ("<p>a</p>\n\n\n<div></div><div><p></p></div>\n<p>b</p>", "a\n\nb"),
        ("<a href=x", ""),
        ("", ""),
    ],
)
def test_elements_look_so(markup, expected):
    assert text(markup) == expected


def test_the_title_is_no_text():
    read = read_html("<html><head><title>My &amp; page</title></head><body>x</body></html>", URL)
    assert (read.title, read.text) == ("My & page", "x")


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>if (a < b) x()</script>", "<style>p > a {}</style>", "<!-- secret -->",
        "<p hidden>secret</p>", "<div style='display: none'><div>a</div>secret</div>",
        "<span style='VISIBILITY:hidden'>secret</span>", "<span aria-hidden=true>x</span>",
        "<span style='font-size:0px'>x</span>", "<span style='color:#FFF'>x</span>",
        "<span style='opacity: 0'>x</span>", "<template><p>x</p></template>",
        "<svg><text>x</text></svg>", "<noembed><p>x</noembed>", "<iframe>x</iframe>",
        "<SCRIPT>x</ScRiPt >", "<script>x</scripty></script>", "<textarea hidden></b>x</textarea>",
        "\u202ea\u202c"[:1], "\U000e0041\U000e0042", "\u200b", "\x00\x1b",
    ],
)  # fmt: skip
def test_what_no_reader_sees_is_dropped(hidden):
    assert text(f"before{hidden}after") == "beforeafter"


def test_a_hidden_paragraph_ends_where_the_next_begins():
    assert text("<p hidden>secret<p>seen") == "seen"


def test_a_page_that_hides_its_body_until_its_script_ran_is_read():
    assert text("<body style='opacity:0'>seen</body>") == "seen"


@pytest.mark.parametrize(
    "style", ["font-size:0.9em", "opacity:0.5", "color:#fff8e1", "color:white;background:red"]
)
def test_what_a_reader_sees_is_kept(style):
    assert text(f"a<span style='{style}'>b</span>") == "ab"


def test_emoji_stay_whole():
    assert text("👩‍👩‍👧 ❤️ 𝄞") == "👩‍👩‍👧 ❤️ 𝄞"


def test_links_are_numbered_and_others_named():
    read = read_html(
        "<a href='other.html'>near</a> <a href='https://b.example/x'>far</a>"
        " <a href=other.html>again</a>"
        " <a href='#part'>here</a> <a href='page.html#p'>here too</a> <a href='mailto:x@y'>mail</a>"
        " <a href='javascript:alert(1)'>run</a> <a href='http://[bad'>bad</a> <a name=x>no link</a>"
        " <a href=/empty></a><a href=/img><img alt=logo></a>",
        URL,
    )
    assert read.text == (
        "【0†near】 【1†far†b.example】 【0†again】 here here too mail run bad no link"
        " 【2†[Image 0: logo]】"
    )
    assert read.links == (
        "https://a.example/dir/other.html", "https://b.example/x", "https://a.example/img",
    )  # fmt: skip


def test_a_link_around_blocks_is_one_line():
    assert text("<a href=/x><h3>Head</h3><p>text</p></a>after") == "【0†Head text】 after"


def test_relative_links_start_at_the_base():
    read = read_html("<base href='/other/'><a href=x>x</a>", URL)
    assert read.links == ("https://a.example/other/x",)
    assert read_html("<base href='javascript:x'><a href=x>x</a>", URL).links[0].endswith("/dir/x")


def test_links_of_a_corpus_are_relative_to_it():
    read = read_html("<a href='../b.md'>b</a><a href='c d.md'>c</a>", "corpus://notes/a/x.html")
    assert read.links == ("corpus://notes/b.md", "corpus://notes/a/c d.md")


def test_marks_in_hosts_are_no_marks():
    assert text("<a href='http://x】【5†y/'>t</a>") in ("【0†t†x〗〖5‡y】", "t")


pieces = st.sampled_from(
    [
        "<", ">", "</", "/>", "<!--", "-->", "<!", "<?", "&", "&#", ";", "\"", "'", "=",
        " ", "\n", "a",
        "<a href=", "<p", "<p>", "<li>", "<ul>", "</ul>", "<pre>", "</pre>", "<script>", "</script",
        "<title>", "<td>", "<div hidden>", "</div>", "<sup>", "<blockquote>", "【", "†",
        "】", "9" * 30,
        "<![CDATA[", "]]>", "&#x3010;", "\x00", "<textarea>", "style='display:none'",
        "<img alt=x>", "\ud800",
    ]
)  # fmt: skip


@given(st.lists(pieces | st.text(max_size=5), max_size=60).map("".join))
def test_no_page_raises_and_none_forges_a_link(markup):
    read = read_html(markup, URL)
    assert all(f"【{number}†" in read.text for number in range(len(read.links)))
    assert read.text.count("【") == read.text.count("】")
    read.text.encode()


@pytest.mark.parametrize(
    "unit",
    [
        "<!--", "<!", "<?", "<a", "<a ", "<a x=", "<a x='", "<a x=\"", "</a", "</", "<",
        "&#", "&", "&#9",
        "<script>", "<title>", "</script", "<![CDATA[", "<p>", "<ul><li>",
        "<div hidden>", "<a href=x>",
        "<a href=x>y</a>", "<blockquote>", "<pre>\n", "<td>", "<sup>", " ", "a ", "\n",
        "<p style='", "=",
        "<p a=b", "-->", "<textarea>", "&amp;", "<img alt=x>", "<br>", "<a/", "<a  /",
    ],
)  # fmt: skip
def test_pages_are_read_in_linear_time(unit, linear):
    linear(lambda n: read_html(unit * (n // len(unit)), URL), 32_000)
