import pytest

from ossia.harmony.byte_bpe import (
    CHAR_OF_BYTE,
    build_tokenizer,
    spell,
    split_lengths,
    unspell,
    write_tokenizer_json,
)
from ossia.harmony.tokenizer import Tokenizer
from tests.harmony.tiny_tokenizer import CONTROL, RANKS


def test_every_byte_is_spelt_by_its_own_printable_character():
    assert sorted(CHAR_OF_BYTE) == list(range(256))
    assert len(set(CHAR_OF_BYTE.values())) == 256
    assert all(char.isprintable() and not char.isspace() for char in CHAR_OF_BYTE.values())


def test_spelling_gives_the_bytes_back():
    tokens = [*RANKS, bytes(range(256)), "漢字 \n".encode()]
    assert [unspell(name) for name in spell(tokens)] == tokens


@pytest.mark.parametrize("name", ["a b", "\n", "漢", "\xa0", "\uffff"])
def test_a_character_of_no_byte_is_not_unspelt(name):
    assert unspell(name) is None


def test_each_longer_token_is_split_where_merging_ends():
    ranks = [b"a", b"b", b"c", b"bc", b"ab", b"abc", b"abcab"]
    assert list(split_lengths(ranks)) == [1, 1, 1, 3]


def test_a_token_out_of_nowhere_is_no_bpe():
    with pytest.raises(ValueError, match="token 3 b'abc' cannot be merged"):
        split_lengths([b"a", b"b", b"c", b"abc"])


def test_what_is_written_is_read_back(tiny):
    assert [tiny.bytes_of(token_id) for token_id in range(len(RANKS))] == RANKS
    assert tiny.control == CONTROL


def test_a_table_without_some_byte_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"lacks the single bytes \[255\]"):
        write_tokenizer_json(tmp_path / "tokenizer.json", RANKS[1:], ".", {})


def test_control_ids_must_follow_the_ordinary_ones():
    with pytest.raises(ValueError, match="control ids are"):
        build_tokenizer([b"a"], splits=b"", pattern=".", control={"<|end|>": 2})


def test_control_ids_keep_the_names_they_are_given(tmp_path):
    shuffled = dict(zip(CONTROL, reversed(CONTROL.values()), strict=True))
    write_tokenizer_json(tmp_path / "tokenizer.json", RANKS, ".", shuffled)
    assert Tokenizer.from_file(tmp_path / "tokenizer.json").control == shuffled
