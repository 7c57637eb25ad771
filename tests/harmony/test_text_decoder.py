import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.harmony.text_decoder import TextDecoder, decode_more, decode_rest


def streamed(chunks):
    pending, decoded = b"", ""
    for chunk in chunks:
        text, pending = decode_more(pending, chunk)
        assert len(pending) <= 3
        decoded += text
    return decoded + decode_rest(pending)


@given(st.lists(st.binary(max_size=6)))
def test_any_split_of_any_bytes_reads_as_the_whole(chunks):
    assert streamed(chunks) == b"".join(chunks).decode("utf-8", "replace")


@given(st.text())
def test_text_by_single_bytes_comes_back_whole(text):
    assert streamed(bytes([byte]) for byte in text.encode()) == text


def test_half_an_emoji_waits_for_its_other_half(o200k):
    decoder = TextDecoder(o200k)
    first, *rest = o200k.encode(" 🦊")
    assert first == 9552
    assert decoder.push(first) == " "
    assert "".join(map(decoder.push, rest)) == "🦊"
    assert decoder.close() == ""


def test_what_still_waits_at_the_close_is_one_replacement(o200k):
    decoder = TextDecoder(o200k)
    assert decoder.push(9552) == " "
    assert decoder.close() == "\ufffd"
    assert decoder.close() == ""


def test_a_control_id_has_no_text(tokenizer):
    with pytest.raises(ValueError, match="not an ordinary token"):
        TextDecoder(tokenizer).push(tokenizer.ids.end)
