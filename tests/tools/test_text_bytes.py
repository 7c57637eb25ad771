"""Text files as lines and back: what is not changed keeps its bytes."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.patch.parse import PatchRefused
from ossia.tools.text_bytes import TextBytes, new_file


@given(st.binary(max_size=50) | st.text(st.sampled_from("a\r\n\ufeffé")).map(str.encode))
def test_an_unchanged_file_keeps_every_byte(content):
    try:
        text = TextBytes.read(content)
    except PatchRefused:
        assert b"\0" in content or content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return
    assert text.after(list(range(len(text.lines)))) == content


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_the_encoding_is_kept(encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    text = TextBytes.read(mark + "é\r\nb\r\n".encode(encoding))
    assert text.lines == ("é", "b")
    assert text.after([0, "ü", 1]) == mark + "é\r\nü\r\nb\r\n".encode(encoding)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\n", b"a\nx\n"),
        (b"a\r\nb\r\n", b"a\r\nx\r\n"),
        (b"a\nb", b"a\nx"),
        (b"a\r\nb", b"a\nx"),
        (b"a\nb\r\nc\n", b"a\nx\n"),
    ],
)
def test_new_lines_end_as_the_old_ones_do(before, after):
    assert TextBytes.read(before).after([0, "x"]) == after.replace(
        b"a\n", b"a\r\n" if before.startswith(b"a\r") else b"a\n"
    )


def test_a_line_that_becomes_the_last_or_no_longer_is_gets_the_end_it_needs():
    assert TextBytes.read(b"a\nb").after([1, 0]) == b"b\na"
    assert TextBytes.read(b"").after(["a"]) == b"a\n"
    assert TextBytes.read(b"a\n").after([]) == b""
    assert TextBytes.read(b"a\r\nb\r\n").after([0, "x\r", 1]) == b"a\r\nx\r\nb\r\n"


def test_an_unknown_encoding_takes_plain_lines_only():
    text = TextBytes.read("café\n".encode("latin-1"))
    assert text.after([0, "x"]) == b"caf\xe9\nx\n"
    with pytest.raises(PatchRefused, match="encoding is not known"):
        text.after([0, "é"])


@pytest.mark.parametrize("content", [b"a\0b", codecs.BOM_UTF16_LE + b"abc"])
def test_binary_files_are_refused(content):
    with pytest.raises(PatchRefused, match="text files only"):
        TextBytes.read(content)


def test_a_new_file_ends_with_a_newline():
    assert new_file(["a", "é"]) == "a\né\n".encode()
    assert new_file([]) == b""
