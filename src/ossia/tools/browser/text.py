"""Cleans untrusted text of control, bidi and tag characters and of forged marks."""

import re
from typing import NamedTuple


class ReadText(NamedTuple):
    """Text with link marks, and where its links lead."""

    title: str
    """The title in the document; may be empty."""
    text: str
    """Clean."""
    links: tuple[str, ...]
    """URL of each link by its number."""


_DROPPED = (
    *range(0x09), *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0),  # control
    0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F),  # bidi, zero width
    *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),  # tags, rare variants: hidden writing
)  # fmt: skip
_BREAKS = (0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)
_TABLE = (
    dict.fromkeys(_DROPPED)
    | dict.fromkeys(_BREAKS, "\n")
    | dict.fromkeys(_SURROGATES, "\ufffd")
    | {0xA0: " ", ord("【"): "〖", ord("】"): "〗", ord("†"): "‡"}
)
_BLANKS = re.compile(r"\s+")


def clean_text(text: str) -> str:
    """Text without hidden characters and with look-alikes for the marks of links and citations.

    Entities must be decoded before: those decoded later would not be cleaned.
    """
    return text.replace("\r\n", "\n").translate(_TABLE)


def one_line(text: str, max_chars: int) -> str:
    """Clean text to one line of at most `max_chars` (at least 4), truncated with dots."""
    line = _BLANKS.sub(" ", clean_text(text)).strip()
    return line if len(line) <= max_chars else f"{line[: max_chars - 3]}..."
