"""What a cell writes: as much of its head and of its tail as the model may read."""

import re

from ossia.tools.tool import MAX_RESULT_BYTES

HEAD_BYTES = MAX_RESULT_BYTES * 3 // 4
TAIL_BYTES = MAX_RESULT_BYTES - HEAD_BYTES
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b[\]PX^_][^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Capture:
    """Bytes of one cell; memory stays the same however many come."""

    def __init__(self) -> None:
        """Begin empty."""
        self._head = bytearray()
        self._tail = bytearray()
        self.num_bytes = 0

    def push(self, more: bytes) -> None:
        """Take what was written next."""
        self.num_bytes += len(more)
        room = HEAD_BYTES - len(self._head)
        self._head += more[:room]
        self._tail += more[room:] if room > 0 else more
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """As plain text: no terminal codes, no invalid characters, the middle of much left out."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        omitted = self.num_bytes - len(self._head) - len(tail)
        if omitted <= 0:
            return plain(bytes(self._head) + tail)
        note = f"\n[... {omitted} bytes left out ...]\n"
        return f"{plain(bytes(self._head)).rstrip()}{note}{plain(tail).lstrip()}"


def plain(written: bytes) -> str:
    """Text without what only a terminal understands; a line written over shows its last state."""
    text = _TERMINAL.sub("", written.decode("utf-8", "replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))
