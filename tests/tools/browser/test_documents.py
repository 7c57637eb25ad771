"""Documents of every kind as text."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.errors import MissingExtra
from ossia.tools.browser import documents
from ossia.tools.browser.backend import Failure
from ossia.tools.browser.documents import MAX_TEXT_CHARS, decode, read_apart, read_document

URL = "https://a.example/notes/x"


def body(content, kind="text"):
    """The text behind the line with the URL."""
    first, blank, *rest = read_document(content.encode(), kind, URL).text.split("\n")
    assert (first, blank) == (f"URL: {URL}", "")
    return "\n".join(rest)


def test_plain_text_keeps_its_lines_and_blanks():
    assert body("a  b\n\n\n\n  c\r\nd\n") == "a  b\n\n  c\nd"


def test_text_forges_no_mark():
    assert body("【0†x】\u202e\x1b[31m") == "〖0‡x〗[31m"


def test_markdown_links_are_numbered():
    read = read_document(
        b"# The *title* #\n\nsee [this](y.md) and ![a cat](cat.png), <https://b.example/z>\n"
        b'or [this](y.md "again") [mail](mailto:x@y)\n```\n[code](y.md)\n```\n[z](z)',
        "markdown",
        URL,
    )
    assert read.title == "The *title*"
    assert read.links == (
        "https://a.example/notes/y.md", "https://b.example/z", "https://a.example/notes/z",
    )  # fmt: skip
    assert read.text.split("\n")[4:] == [
        "see 【0†this】 and [Image 0: a cat], 【1†https://b.example/z†b.example】",
        "or 【0†this】 mail",
        "```",
        "[code](y.md)",
        "```",
        "【2†z】",
    ]


def test_comments_of_markdown_are_dropped():
    assert body("a<!-- secret\n -->b <!-- open", "markdown") == "ab <!-- open"


def test_html_is_read_as_html():
    assert body("<p>a<script>b</script>", "html") == "a"


def test_a_long_document_is_cut_and_says_so():
    text = body("x " * MAX_TEXT_CHARS)
    assert len(text) < MAX_TEXT_CHARS + 100
    assert text.endswith("(The rest of this long document is left out.)")


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("é".encode(), None, "é"),
        ("é".encode("latin-1"), "ISO-8859-1", "é"),
        ("é".encode("latin-1"), None, "\ufffd"),
        ("é".encode("utf-16"), "ascii", "é"),
        (b"\xef\xbb\xbfx", None, "x"),
        (b"<meta charset='windows-1252'>\x93", None, "<meta charset='windows-1252'>“"),
        (b"\\x41", "unicode_escape", "\\x41"),
        (b"aGk=", "base64", "aGk="),
        (b"x" * 9, "punycode", "x" * 9),
        (b"x", "utf-8\x00", "x"),
    ],
)
def test_bytes_are_text_by_their_mark_or_what_is_said(content, charset, text):
    assert decode(content, charset) == text


@given(st.binary(), st.none() | st.text(max_size=12), st.sampled_from(["text", "markdown", "html"]))
def test_no_bytes_raise(content, charset, kind):
    read_document(content, kind, URL, charset).text.encode()


@pytest.mark.parametrize(
    "unit", ["[a](b) ", "[", "![", "[a](", "<http://", "```\n", "# x\n", "<!--", "\n \n"]
)
def test_markdown_is_read_in_linear_time(unit, linear):
    linear(lambda n: read_document((unit * (n // len(unit))).encode(), "markdown", URL), 60_000)


# In a process apart.


def test_reading_apart_gives_the_same():
    content = "<title>t</title><a href=x>é</a>".encode()
    assert read_apart(content, "html", URL) == read_document(content, "html", URL)


def test_a_page_that_takes_too_long_is_given_up():
    with pytest.raises(Failure, match="takes too long"):
        read_apart(b"<br>" * 1_000_000, "html", URL, seconds=0.2)


def test_what_is_no_pdf_is_said_to_be_damaged():
    with pytest.raises(Failure, match="damaged"):
        read_apart(b"%PDF-1.4 nonsense", "pdf", URL, seconds=20.0)


def test_pdf_without_its_reader_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ossia\[pdf\]'"):
        read_document(b"%PDF-1.4", "pdf", URL)


def test_what_the_process_apart_lacks_is_reported(monkeypatch):
    lacking = subprocess.CompletedProcess([], 0, stdout=b'{"missing": "no reader"}')
    monkeypatch.setattr(documents, "run_module", lambda *_, **__: lacking)
    with pytest.raises(Failure, match="no reader"):
        read_apart(b"%PDF-1.4", "pdf", URL)


def pdf(*texts):
    """A PDF by hand: a page of one line for each text."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    file, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(file))
        file += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(file)}\n%%EOF"
    return f"{file}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def test_pages_of_a_pdf_are_read_in_order():
    read = read_apart(pdf("Hello pages", "The second"), "pdf", URL, seconds=20.0)
    assert read.text.split("\n\n")[1:] == ["[Page 1]\nHello pages", "[Page 2]\nThe second"]
