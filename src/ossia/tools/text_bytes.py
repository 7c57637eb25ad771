"""A text file as lines, and back: what was not changed keeps its bytes, line ends and encoding.

Knows bytes and lines; knows no disk.
"""

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

from ossia.tools.patch.match import Patched
from ossia.tools.patch.parse import PatchRefused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class TextBytes:
    """The lines of a file, and all else that its bytes say."""

    lines: tuple[str, ...]
    """Without their ends."""
    ends: tuple[str, ...]
    """Of each line; the last one's may be empty."""
    encoding: str
    byte_order_mark: bytes
    is_clean: bool
    """Whether all bytes are text of that encoding; others stand in lines as lone surrogates."""

    @classmethod
    def read(cls, content: bytes) -> "TextBytes":
        """Take a file apart.

        Raises:
            PatchRefused: it is binary.
        """
        mark, encoding = next(
            (found for found in _MARKS if content.startswith(found[0])), (b"", "utf-8")
        )
        raw = content.removeprefix(mark)
        try:
            text, is_clean = raw.decode(encoding), True
        except UnicodeDecodeError:
            if encoding != "utf-8":
                raise PatchRefused("it is damaged UTF-16; patches change text files only") from None
            text, is_clean = raw.decode(encoding, "surrogateescape"), False
        if "\0" in text:
            raise PatchRefused("it is binary; patches change text files only")
        *whole, last = text.split("\n")
        lines = [line.removesuffix("\r") for line in whole]
        ends = ["\r\n" if line.endswith("\r") else "\n" for line in whole]
        if last:
            lines.append(last)
            ends.append("")
        return cls(tuple(lines), tuple(ends), encoding, mark, is_clean)

    def after(self, patched: Patched) -> bytes:
        """The file with other lines; a new line ends as most of the old ones do.

        Raises:
            PatchRefused: a new line cannot be written in the file's encoding.
        """
        usual = "\r\n" if self.ends.count("\r\n") > len(self.ends) / 2 else "\n"
        lines, ends = [], []
        for each in patched:
            if isinstance(each, int):
                lines.append(self.lines[each])
                ends.append(self.ends[each] or usual)
            else:
                lines.append(each.removesuffix("\r") if usual == "\r\n" else each)
                ends.append(usual)
        if ends and self.ends and not self.ends[-1]:
            ends[-1] = ""
        new = "".join(each for each in patched if isinstance(each, str))
        if not self.is_clean and not new.isascii():
            raise PatchRefused("its encoding is not known, and a new line is not plain ASCII")
        text = "".join(line + end for line, end in zip(lines, ends, strict=True))
        return self.byte_order_mark + text.encode(self.encoding, "surrogateescape")


def new_file(lines: Iterable[str]) -> bytes:
    """The bytes of a file of these lines; it ends with a newline."""
    return "".join(f"{line}\n" for line in lines).encode()
