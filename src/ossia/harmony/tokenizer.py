"""The tokenizer: ids of ordinary text and of named control tokens.

Ids of control tokens come from the tokenizer's file by name, never from constants.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import tokenizers

from ossia.checkpoint.folder import Checkpoint
from ossia.errors import CheckpointError, RequestError
from ossia.harmony.byte_bpe import (
    MODEL_ROWS,
    PUBLISHED_BYTES,
    PUBLISHED_SHA256,
    missing_bytes,
    o200k_tokenizer,
    read_ranks,
    unspell,
)

MAX_FILE_BYTES = 256 << 20
"""Size limit of a tokenizer.json: ten times the published one."""

_PROBE = " Ossia:\n\n  ein Weg\t(0123)\r\n ça 𝄞 漢字 don't "


class ControlIds(NamedTuple):
    """The ids of the control tokens that delimit messages."""

    start: int
    end: int
    message: int
    channel: int
    constrain: int
    return_: int
    call: int
    endoftext: int
    startoftext: int

    @classmethod
    def named_in(cls, control: Mapping[str, int]) -> Self:
        """Pick the ids by name; raises CheckpointError if one is missing."""
        spelt = {field: f"<|{field.rstrip('_')}|>" for field in cls._fields}
        if lacking := [name for name in spelt.values() if name not in control]:
            raise CheckpointError(
                f"the tokenizer lacks the control tokens {', '.join(lacking)}; "
                "is this the tokenizer.json of a gpt-oss model?"
            )
        return cls(**{field: control[name] for field, name in spelt.items()})


class Tokenizer:
    """Encodes ordinary text to ids and decodes ids to bytes; immutable, safe to share."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, *, ranks: Sequence[bytes] | None = None
    ) -> None:
        """Wrap a byte-level BPE tokenizer.

        Args:
            tokenizer: with its control tokens added.
            ranks: bytes of its ordinary ids in order, where they are known already.

        Raises:
            CheckpointError: it is of another kind, or lets text become a control token.
        """
        added = tokenizer.get_added_tokens_decoder()
        self.control: Mapping[str, int] = {token.content: i for i, token in added.items()}
        self.ids = ControlIds.named_in(self.control)
        self._names = {token_id: token.content for token_id, token in added.items()}
        self._bytes = _byte_table(tokenizer, control=self._names, ranks=ranks)
        # A tokenizer without any added token: no text whatever can become one.
        self._bpe = tokenizers.Tokenizer(tokenizer.model)
        if tokenizer.pre_tokenizer is not None:
            self._bpe.pre_tokenizer = tokenizer.pre_tokenizer
        self._masks: dict[tuple[int, int | None], npt.NDArray[np.bool_]] = {}
        self._check(has_normalizer=tokenizer.normalizer is not None)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a tokenizer.json; raises CheckpointError if it is not a gpt-oss tokenizer."""
        if not path.is_file():
            raise CheckpointError(f"{path} is not a regular file; expected a tokenizer.json")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise CheckpointError(
                f"{path} has {size} bytes, more than {MAX_FILE_BYTES}; is it a tokenizer.json?"
            )
        content = path.read_bytes()
        if size == PUBLISHED_BYTES and (hashlib.sha256(content).hexdigest() == PUBLISHED_SHA256):
            return cls.o200k_harmony()  # the same tokens with half the merges: opens sooner
        try:
            return cls(tokenizers.Tokenizer.from_buffer(content))
        except (ValueError, CheckpointError) as error:
            raise CheckpointError(f"{path}: {error}") from None

    @classmethod
    def o200k_harmony(cls) -> Self:
        """The tokenizer of gpt-oss, from the table inside the package."""
        ranks = read_ranks()
        return cls(o200k_tokenizer(ranks), ranks=ranks)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self | None:
        """A checkpoint's own, or the published one where its table has that size; else None."""
        if checkpoint.tokenizer_path is not None:
            return cls.from_file(checkpoint.tokenizer_path)
        is_published = checkpoint.config.vocab_size == MODEL_ROWS
        return cls.o200k_harmony() if is_published else None

    def _check(self, *, has_normalizer: bool) -> None:
        if has_normalizer:
            raise CheckpointError("the tokenizer changes text before encoding; expected none to")
        if missing := missing_bytes(token for token in self._bytes if token is not None):
            raise CheckpointError(
                f"the tokenizer has no token for the single bytes {missing[:8]}; "
                "expected a byte-level BPE with all 256"
            )
        names = "".join(self.control)
        for text in (_PROBE, names):
            ids = self.encode(text)
            if not all(map(self.is_text, ids)) or self.decode(ids) != text:
                raise CheckpointError(
                    f"the tokenizer turns {text[:40]!r} into {self.decode(ids)[:40]!r}; "
                    "expected a byte-level BPE that gives all text back and no control token"
                )

    @property
    def size(self) -> int:
        """One more than the highest id known; a model's table may be longer."""
        return len(self._bytes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every id's meaning: tokenizers with equal digests are equivalent."""
        digest = hashlib.sha256()
        for token_id, token in enumerate(self._bytes):
            name = self._names.get(token_id)
            kind = b"-" if name is None and token is None else b"c" if name is not None else b"t"
            meant = name.encode() if name is not None else token or b""
            digest.update(b"%b%d:%b" % (kind, len(meant), meant))
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """Encode ordinary text; never yields a control id, whatever the text spells.

        Raises:
            RequestError: the text has a lone surrogate, which no UTF-8 can carry.
        """
        try:
            return self._bpe.encode(text, add_special_tokens=False).ids
        except TypeError:
            lone = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
            if lone is None:
                raise
            raise RequestError(
                f"text has the lone surrogate U+{ord(lone):04X} at character {text.index(lone)}; "
                "expected text that can be written as UTF-8"
            ) from None

    def is_text(self, token_id: int) -> bool:
        """Whether the id is an ordinary token, with bytes."""
        return 0 <= token_id < len(self._bytes) and self._bytes[token_id] is not None

    def token_bytes(self) -> list[bytes | None]:
        """Bytes of each id in order; None for control ids and gaps."""
        return list(self._bytes)

    def bytes_of(self, token_id: int) -> bytes:
        """Bytes of an ordinary token; not always valid UTF-8 alone.

        Raises:
            ValueError: the id is a control token or unknown.
        """
        token = self._bytes[token_id] if 0 <= token_id < len(self._bytes) else None
        if token is None:
            raise ValueError(f"id {token_id} is not an ordinary token")
        return token

    def decode(self, ids: Iterable[int]) -> str:
        """Decode ids to text, with control tokens by name; for display, not for parsing."""
        shown = bytearray()
        for token_id in ids:
            if self.is_text(token_id):
                shown += self.bytes_of(token_id)
            else:
                shown += self._names.get(token_id, f"<|reserved_{token_id}|>").encode()
        return shown.decode("utf-8", "replace")

    def text_mask(self, vocab_size: int, *, also: int | None = None) -> npt.NDArray[np.bool_]:
        """Mark the ordinary ids, and `also`, among `vocab_size` rows of a model's table.

        Returns:
            Read-only bool array of shape [V], cached.
        """
        if (vocab_size, also) not in self._masks:
            if also is None:
                mask_V = np.zeros(vocab_size, dtype=np.bool_)
                known = min(vocab_size, len(self._bytes))
                mask_V[:known] = [token is not None for token in self._bytes[:known]]
            else:
                mask_V = self.text_mask(vocab_size).copy()
                mask_V[also] = True
            mask_V.flags.writeable = False
            self._masks[vocab_size, also] = mask_V
        return self._masks[vocab_size, also]


def _byte_table(
    tokenizer: tokenizers.Tokenizer, *, control: Mapping[int, str], ranks: Sequence[bytes] | None
) -> list[bytes | None]:
    """Bytes of each id in order; None for control tokens and gaps."""
    if ranks is not None:
        return [*ranks, *(None for _ in range(len(ranks), max(control) + 1))]
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    highest = max((*vocab.values(), *control))
    if highest > 2 * (len(vocab) + len(control)):
        raise CheckpointError(f"the highest token id is {highest}, for {len(vocab)} tokens")
    table: list[bytes | None] = [None] * (highest + 1)
    for name, token_id in vocab.items():
        if token_id in control:
            continue
        token = unspell(name)
        if not token:
            raise CheckpointError(f"token {token_id} {name!r} is not spelt as bytes")
        table[token_id] = token
    return table
