"""The published o200k_harmony table, packed into the wheel: 199,998 tokens and 21 control names.

Knows the one vocabulary gpt-oss was trained with; nothing outside this file may rely on its ids.
"""

import hashlib
import lzma
from binascii import b2a_base64
from collections.abc import Sequence
from importlib.resources import files

from tokenizers import Tokenizer

from ossia.errors import CheckpointError
from ossia.harmony.byte_bpe import build_tokenizer

MODEL_ROWS = 201_088
"""Rows of the published models' tables: such a folder may lack its tokenizer, we have it."""

PUBLISHED_BYTES = 27_868_174
PUBLISHED_SHA256 = "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"
"""tokenizer.json as OpenAI publishes it with both models; the table below encodes the same."""

TIKTOKEN_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Of the table written as lines "base64 rank", which is how o200k_base.tiktoken is published."""

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
    packed = lzma.decompress(files("ossia.harmony").joinpath("o200k_base.ranks.xz").read_bytes())
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
    return lzma.decompress(files("ossia.harmony").joinpath("o200k_base.splits.xz").read_bytes())


def build(ranks: Sequence[bytes]) -> Tokenizer:
    """Build the tokenizer of gpt-oss from the packed table, as read by `read_ranks`."""
    return build_tokenizer(ranks, splits=read_splits(), pattern=PATTERN, control=control_names())
