"""Byte-level BPE out of a table of tokens, and the published table of gpt-oss, o200k_harmony.

Knows how bytes are spelt in a tokenizer.json; nothing outside this file may rely on o200k's ids.
"""

import hashlib
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from ossia.errors import CheckpointError

_PLAIN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
CHAR_OF_BYTE: Mapping[int, str] = {byte: chr(byte) for byte in _PLAIN} | {
    byte: chr(0x100 + nth) for nth, byte in enumerate(b for b in range(256) if b not in _PLAIN)
}
"""How a byte is spelt in tokenizer.json: printable Latin-1 as itself, the rest from U+0100 up."""

_NO_BYTE = 0xFFFF
_BYTE_OF_CHAR = {byte: _NO_BYTE for byte in range(256)} | {
    ord(char): byte for byte, char in CHAR_OF_BYTE.items()
}


def spell(tokens: Sequence[bytes]) -> list[str]:
    """Write each token's bytes in the alphabet of tokenizer.json."""
    joined = b"".join(tokens).decode("latin-1").translate(CHAR_OF_BYTE)
    spelt, start = [], 0
    for token in tokens:
        spelt.append(joined[start : start + len(token)])
        start += len(token)
    return spelt


def unspell(name: str) -> bytes | None:
    """Convert a name in tokenizer.json to bytes; None if a character represents no byte."""
    try:
        return name.translate(_BYTE_OF_CHAR).encode("latin-1")
    except UnicodeEncodeError:
        return None


def split_lengths(ranks: Sequence[bytes]) -> bytes:
    """Find, for each token of two bytes or more, the length of its left part in its last merge.

    One such merge a token is all that BPE ever performs, however many splits of it are known.

    Raises:
        ValueError: a token cannot be merged out of earlier ones; `ranks` is not a BPE table.
    """
    rank_of = {token: rank for rank, token in enumerate(ranks)}
    return bytes(
        len(_parts_before(token, rank_of, rank)[0])
        for rank, token in enumerate(ranks)
        if len(token) > 1
    )


def _parts_before(token: bytes, rank_of: Mapping[bytes, int], limit: int) -> list[bytes]:
    """Merge `token`'s bytes by rank, lowest first, with the ranks below `limit` only."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        lowest, place = limit, 0
        for at in range(len(parts) - 1):
            rank = rank_of.get(parts[at] + parts[at + 1], limit)
            if rank < lowest:
                lowest, place = rank, at
        if lowest == limit:
            raise ValueError(f"token {limit} {token!r} cannot be merged out of earlier tokens")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def build_tokenizer(
    ranks: Sequence[bytes], *, splits: bytes, pattern: str, control: Mapping[str, int]
) -> Tokenizer:
    """Build the tokenizer whose ordinary ids are the ranks and whose merges follow `splits`.

    Args:
        ranks: bytes of each ordinary token, in order of rank; the rank is the id.
        splits: as from `split_lengths`.
        pattern: regular expression of the pieces that no token may cross.
        control: id of each control token by name, from `len(ranks)` up.
    """
    names = spell(ranks)
    longer = (name for name in names if len(name) > 1)
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: rank for rank, name in enumerate(names)},
            merges=[(name[:at], name[at:]) for name, at in zip(longer, splits, strict=True)],
            ignore_merges=True,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _add_control(tokenizer, control, first=len(ranks))
    return tokenizer


def _add_control(tokenizer: Tokenizer, control: Mapping[str, int], *, first: int) -> None:
    """Register the control tokens; the library numbers them itself, so they must be gapless."""
    names = sorted(control, key=lambda name: control[name])
    ids = [control[name] for name in names]
    if ids != list(range(first, first + len(ids))):
        raise ValueError(f"control ids are {ids}; they must follow the {first} ordinary ids")
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names]
    )


def write_tokenizer_json(
    path: Path, ranks: Sequence[bytes], pattern: str, control: Mapping[str, int]
) -> None:
    """Write a tokenizer.json that any reader of the published one understands.

    Args:
        path: the file to write.
        ranks: bytes of each ordinary token, in order of rank; all 256 single bytes among them.
        pattern: regular expression of the pieces that no token may cross.
        control: id of each control token by name, gapless after the ordinary ids.

    Raises:
        ValueError: the table is not a byte-level BPE, or the control ids leave a gap.
    """
    if missing := missing_bytes(ranks):
        raise ValueError(f"the table lacks the single bytes {missing[:8]}")
    tokenizer = build_tokenizer(
        ranks, splits=split_lengths(ranks), pattern=pattern, control=control
    )
    tokenizer.save(str(path), pretty=True)


def missing_bytes(tokens: Iterable[bytes]) -> list[int]:
    """List the byte values that no token spells alone; text with them could not be encoded."""
    return sorted(set(range(256)) - {token[0] for token in tokens if len(token) == 1})


MODEL_ROWS = 201_088
"""Rows of the published models' tables: such a folder may lack its tokenizer, we have it."""

PUBLISHED_BYTES = 27_868_174
PUBLISHED_SHA256 = "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"
"""tokenizer.json as OpenAI publishes it with both models; the table below encodes the same."""

TIKTOKEN_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""SHA-256 of the table as lines "base64 rank", the format of o200k_base.tiktoken."""

_ELISION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ELISION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ELISION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_FIRST_CONTROL, _NUM_CONTROL = 199_998, 21
_NAMED = {
    199_998: "<|startoftext|>",
    199_999: "<|endoftext|>",
    200_002: "<|return|>",
    200_003: "<|constrain|>",
    200_005: "<|channel|>",
    200_006: "<|start|>",
    200_007: "<|end|>",
    200_008: "<|message|>",
    200_012: "<|call|>",
    200_018: "<|endofprompt|>",
}


def control_names() -> dict[str, int]:
    """Id of each control token by name, reserved ones included."""
    ids = range(_FIRST_CONTROL, _FIRST_CONTROL + _NUM_CONTROL)
    return {_NAMED.get(token_id, f"<|reserved_{token_id}|>"): token_id for token_id in ids}


def read_ranks() -> list[bytes]:
    """Bytes of each ordinary token, in order of rank.

    Raises:
        CheckpointError: the packed table is not the published one.
    """
    packed = _unpacked("o200k_base.ranks.xz")
    ranks, at = [], 0
    while at < len(packed):
        end = at + 1 + packed[at]
        ranks.append(packed[at + 1 : end])
        at = end
    text = b"".join(
        b2a_base64(token, newline=False) + b" %d\n" % rank for rank, token in enumerate(ranks)
    )
    if (found := hashlib.sha256(text).hexdigest()) != TIKTOKEN_SHA256:
        raise CheckpointError(
            f"the vocabulary inside the package has sha256 {found}, expected {TIKTOKEN_SHA256}; "
            "reinstall ossia"
        )
    return ranks


def read_splits() -> bytes:
    """Length of the left part of each longer token, precomputed: finding them takes seconds."""
    return _unpacked("o200k_base.splits.xz")


def _unpacked(name: str) -> bytes:
    """A file of this package; most checkpoints bring a tokenizer and need neither import."""
    import lzma
    from importlib.resources import files

    return lzma.decompress(files("ossia.harmony").joinpath(name).read_bytes())


def o200k_tokenizer(ranks: Sequence[bytes]) -> Tokenizer:
    """Build the tokenizer of gpt-oss from the packed table, as read by `read_ranks`."""
    return build_tokenizer(ranks, splits=read_splits(), pattern=PATTERN, control=control_names())
