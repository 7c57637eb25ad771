import pytest

from ossia.errors import CheckpointError
from ossia.harmony import byte_bpe
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


def test_the_table_is_the_published_one():
    ranks = byte_bpe.read_ranks()  # asserts its own checksum
    assert len(ranks) == 199_998
    assert max(map(len, ranks)) == 128
    assert len(set(ranks)) == len(ranks)


def test_another_table_is_refused(monkeypatch):
    monkeypatch.setattr(byte_bpe, "TIKTOKEN_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="reinstall ossia"):
        byte_bpe.read_ranks()


def test_the_packed_splits_are_those_that_merging_finds():
    ranks, splits = byte_bpe.read_ranks(), byte_bpe.read_splits()
    first = split_lengths(ranks[:40_000])  # a split depends on earlier tokens alone
    assert splits[: len(first)] == first


def test_every_packed_split_leaves_two_earlier_tokens():
    ranks, splits = byte_bpe.read_ranks(), byte_bpe.read_splits()
    rank_of = {token: rank for rank, token in enumerate(ranks)}
    longer = [token for token in ranks if len(token) > 1]
    for token, at in zip(longer, splits, strict=True):
        assert rank_of[token[:at]] < rank_of[token] > rank_of[token[at:]]


def test_control_names_fill_their_range():
    names = byte_bpe.control_names()
    assert sorted(names.values()) == list(range(199_998, 200_019))
    assert names["<|start|>"] == 200_006
    assert names["<|reserved_200017|>"] == 200_017
