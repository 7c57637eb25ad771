import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers

from benchmarks.harmony_conversations import text as random_text
from ossia.errors import CheckpointError, RequestError
from ossia.harmony import byte_bpe as table
from ossia.harmony import tokenizer as module
from ossia.harmony.byte_bpe import spell
from ossia.harmony.tokenizer import Tokenizer
from tests.harmony.tiny_tokenizer import CONTROL, RANKS

ANY_TEXT = st.text(st.characters(codec="utf-8"))
CONTROL_TEXT = st.sampled_from([*CONTROL, "<|", "|>", "<|reserved_200019|>", "<|refusal|>"])


def test_control_ids_have_the_published_numbers(o200k):
    ids = o200k.ids
    assert (ids.start, ids.end, ids.message, ids.channel) == (200006, 200007, 200008, 200005)
    assert (ids.constrain, ids.return_, ids.call) == (200003, 200002, 200012)
    assert (ids.startoftext, ids.endoftext, o200k.size) == (199998, 199999, 200019)


def test_known_pieces_have_the_published_ids(o200k):
    assert o200k.encode("assistant") == [173781]
    assert o200k.encode("commentary") == [12606, 815]
    assert o200k.encode(" to=functions.get_weather") == [316, 28, 44580, 775, 170154]
    assert o200k.encode(" to=mcp.y")[:2] == [316, 66606]


def test_encodes_as_the_published_library(o200k, library):
    rng = random.Random(0)
    for _ in range(300):
        text = random_text(rng)
        assert o200k.encode(text) == library.encode(text, disallowed_special=())


@given(text=st.lists(ANY_TEXT | CONTROL_TEXT).map("".join))
def test_text_never_becomes_a_control_id_and_comes_back(o200k, tiny, text):
    for tokenizer in (o200k, tiny):
        ids = tokenizer.encode(text)
        assert all(map(tokenizer.is_text, ids))
        assert b"".join(map(tokenizer.bytes_of, ids)) == text.encode()


def test_every_control_name_in_text_stays_text(tokenizer):
    for name in tokenizer.control:
        assert not {tokenizer.control[name]} & set(tokenizer.encode(f"a{name}{name} {name}"))


@pytest.mark.parametrize("text", ["\ud800", "ab\udfff", "😀\udc00x"])
def test_a_lone_surrogate_is_refused(tokenizer, text):
    with pytest.raises(RequestError, match=r"lone surrogate U\+D[8-F]"):
        tokenizer.encode(text)


def test_what_is_no_text_is_our_bug_not_a_request(tiny):
    for value in (7, ["a"], b"a"):
        with pytest.raises(TypeError):
            tiny.encode(value)


def test_long_runs_of_one_character_stay_linear(o200k):
    for char in " a\n!漢":
        assert o200k.decode(o200k.encode(char * 100_000)) == char * 100_000


def test_ids_beyond_the_vocabulary_are_no_text(tokenizer):
    for token_id in (-1, -tokenizer.size, tokenizer.size, 1 << 70, tokenizer.ids.end):
        assert not tokenizer.is_text(token_id)
        with pytest.raises(ValueError, match=f"id {token_id} is not an ordinary token"):
            tokenizer.bytes_of(token_id)


def test_decoding_shows_control_tokens_by_name(o200k):
    ids = [o200k.ids.start, *o200k.encode("é"), 200000, 201000]
    assert o200k.decode(ids) == "<|start|>é<|reserved_200000|><|reserved_201000|>"


def test_the_text_mask_marks_ordinary_ids_only(tokenizer):
    size = tokenizer.size + 100
    mask = tokenizer.text_mask(size)
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == [i for i in range(size) if tokenizer.is_text(i)]
    with_end = tokenizer.text_mask(size, also=tokenizer.ids.end)
    assert np.flatnonzero(mask != with_end).tolist() == [tokenizer.ids.end]
    assert tokenizer.text_mask(size) is mask
    assert not mask.flags.writeable
    assert len(tokenizer.text_mask(10)) == 10


def test_the_digest_tells_tokenizers_apart(o200k, tiny, tokenizer_file):
    assert len(tiny.digest) == 64
    assert tiny.digest != o200k.digest
    assert tiny.digest == Tokenizer.from_file(tokenizer_file).digest


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    """The published tokenizer.json, byte for byte: every split of every token as a merge."""
    ranks = table.read_ranks()
    names = [json.dumps(name, ensure_ascii=False) for name in spell(ranks)]
    rank_of = {token: rank for rank, token in enumerate(ranks)}
    merges = []
    for token in ranks:
        splits = ((rank_of.get(token[:at]), rank_of.get(token[at:])) for at in range(1, len(token)))
        known = sorted(pair for pair in splits if None not in pair)
        merges += [f"[\n        {names[a]},\n        {names[b]}\n      ]" for a, b in known]
    library = table.o200k_tokenizer(ranks)
    library.model = models.BPE(
        vocab=library.get_vocab(with_added_tokens=False), merges=[], ignore_merges=True
    )
    spelt = library.to_str(pretty=True)
    head, tail = spelt.rsplit('"merges": []', 1)
    path = tmp_path_factory.mktemp("published") / "tokenizer.json"
    path.write_text(head + '"merges": [\n      ' + ",\n      ".join(merges) + "\n    ]" + tail)
    return path


@pytest.mark.slow
def test_the_published_file_is_read_and_equals_the_packed_table(published_file, o200k):
    content = published_file.read_bytes()
    assert len(content) == table.PUBLISHED_BYTES
    assert hashlib.sha256(content).hexdigest() == table.PUBLISHED_SHA256
    known = Tokenizer.from_file(published_file)  # by its checksum
    read = Tokenizer(tokenizers.Tokenizer.from_buffer(content))  # as any other file
    assert known.digest == read.digest == o200k.digest
    rng = random.Random(1)
    for _ in range(200):
        text = random_text(rng)
        assert known.encode(text) == read.encode(text) == o200k.encode(text)


def test_a_file_that_is_none_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.json", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="not a regular file"):
            Tokenizer.from_file(path)


def test_a_file_far_too_large_is_refused(tokenizer_file, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(CheckpointError, match="more than 1000"):
        Tokenizer.from_file(tokenizer_file)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"[]", b'{"model": {"type": "BPE"}}'])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: "):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def changed(tokenizer_file, tmp_path, change):
    content = json.loads(tokenizer_file.read_text())
    change(content)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    return path


def without_call(content):
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<|call|>"]


def with_strange_token(content):
    content["model"]["vocab"]["a b"] = 300


def with_far_token(content):
    content["model"]["vocab"]["ab"] = 1 << 30


def without_splitting(content):
    content["pre_tokenizer"] = None


def with_control_in_vocabulary(content):
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"<\|end\|>|.|\s"
    content["model"]["vocab"] |= CONTROL


def without_a_byte(content):
    del content["model"]["vocab"]["!"]
    content["model"]["merges"] = []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (without_call, r"lacks the control tokens <\|call\|>"),
        (with_strange_token, "not spelt as bytes"),
        (with_far_token, "the highest token id is"),
        (without_splitting, "gives all text back"),
        (with_control_in_vocabulary, "no control token"),
        (without_a_byte, r"no token for the single bytes \[33\]"),
    ],
)
def test_a_tokenizer_that_cannot_be_trusted_is_refused(tokenizer_file, tmp_path, change, refusal):
    with pytest.raises(CheckpointError, match=refusal):
        Tokenizer.from_file(changed(tokenizer_file, tmp_path, change))


def test_a_tokenizer_that_rewrites_text_is_refused(tokenizer_file):
    library = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    library.normalizer = normalizers.NFKC()
    with pytest.raises(CheckpointError, match="changes text"):
        Tokenizer(library)


def test_a_gap_in_the_ids_is_no_token(tokenizer_file, tmp_path):
    def with_gap(content):
        content["model"]["vocab"]["zz"] = len(RANKS) + len(CONTROL) + 5

    tokenizer = Tokenizer.from_file(changed(tokenizer_file, tmp_path, with_gap))
    assert not tokenizer.is_text(tokenizer.size - 2)
    assert tokenizer.bytes_of(tokenizer.size - 1) == b"zz"


def test_added_tokens_need_not_be_marked_special(tokenizer_file, tmp_path):
    def unmarked(content):
        for token in content["added_tokens"]:
            token["special"] = False

    tokenizer = Tokenizer.from_file(changed(tokenizer_file, tmp_path, unmarked))
    assert tokenizer.ids.end not in tokenizer.encode("<|end|>")
