import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.harmony.tokenizer import Tokenizer
from ossia.train.tokenizer import CONTROL, HEADER_WORDS, learn_ranks, write_tokenizer


def test_one_digit_is_one_token(tokenizer):
    pieces = [tokenizer.bytes_of(each) for each in tokenizer.encode("120+345 = 2024-06")]
    digits = [piece for piece in pieces if any(48 <= byte <= 57 for byte in piece)]
    assert b"".join(digits) == b"120345202406"
    assert len(digits) == 12


def test_control_tokens_stand_last_and_the_size_is_as_asked(tokenizer):
    assert tokenizer.size == 640
    assert sorted(tokenizer.control.values()) == list(range(640 - len(CONTROL), 640))


def test_each_word_of_the_frame_is_one_token(tokenizer):
    assert {word: len(tokenizer.encode(word)) for word in HEADER_WORDS} == dict.fromkeys(
        HEADER_WORDS, 1
    )


def test_the_same_seed_writes_the_same_file(tokenizer_file, tmp_path):
    write_tokenizer(tmp_path / "again.json", 640, seed=0)
    assert (tmp_path / "again.json").read_bytes() == tokenizer_file.read_bytes()


@given(text=st.text(max_size=40))
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_text_too_poor_for_so_many_tokens_is_refused():
    with pytest.raises(ValueError, match="expected 300"):
        learn_ranks(["ab"], 300)


def test_the_file_is_read_like_any_other(tokenizer_file):
    assert Tokenizer.from_file(tokenizer_file).decode([256]) != ""
