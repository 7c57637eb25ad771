import pytest

from ossia.errors import CheckpointError
from ossia.harmony import o200k
from ossia.harmony.byte_bpe import split_lengths


def test_the_table_is_the_published_one():
    ranks = o200k.read_ranks()  # asserts its own checksum
    assert len(ranks) == 199_998
    assert max(map(len, ranks)) == 128
    assert len(set(ranks)) == len(ranks)


def test_another_table_is_refused(monkeypatch):
    monkeypatch.setattr(o200k, "TIKTOKEN_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="reinstall ossia"):
        o200k.read_ranks()


def test_the_packed_splits_are_those_that_merging_finds():
    ranks, splits = o200k.read_ranks(), o200k.read_splits()
    first = split_lengths(ranks[:40_000])  # a split depends on earlier tokens alone
    assert splits[: len(first)] == first


def test_every_packed_split_leaves_two_earlier_tokens():
    ranks, splits = o200k.read_ranks(), o200k.read_splits()
    rank_of = {token: rank for rank, token in enumerate(ranks)}
    longer = [token for token in ranks if len(token) > 1]
    for token, at in zip(longer, splits, strict=True):
        assert rank_of[token[:at]] < rank_of[token] > rank_of[token[at:]]


def test_control_names_fill_their_range():
    names = o200k.control_names()
    assert sorted(names.values()) == list(range(199_998, 200_019))
    assert names["<|start|>"] == 200_006
    assert names["<|reserved_200017|>"] == 200_017
