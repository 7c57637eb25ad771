"""Decodes UTF-8 that arrives a token at a time."""

from codecs import utf_8_decode

from ossia.harmony.tokenizer import Tokenizer


def decode_more(pending: bytes, more: bytes) -> tuple[str, bytes]:
    """Decode the longest valid prefix; return its text and the bytes still waiting (at most 3).

    Each maximal invalid part becomes one U+FFFD.
    """
    waiting = pending + more
    text, used = utf_8_decode(waiting, "replace", False)
    return text, waiting[used:]


def decode_rest(pending: bytes) -> str:
    """Decode what was still waiting when the message closed."""
    return utf_8_decode(pending, "replace", True)[0]


class TextDecoder:
    """Decodes the text of one message; each message needs a new one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending = b""

    def push(self, token_id: int) -> str:
        """Text that became certain with this ordinary token, maybe none.

        Raises:
            ValueError: the id is not an ordinary token.
        """
        text, self._pending = decode_more(self._pending, self._tokenizer.bytes_of(token_id))
        return text

    def close(self) -> str:
        """Decode the pending bytes."""
        text, self._pending = decode_rest(self._pending), b""
        return text
