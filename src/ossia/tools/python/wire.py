"""Frames between processes: four bytes of length, then JSON."""

import json
import struct
from typing import Any

MAX_FRAME_BYTES = 24 << 20
"""Size limit of a frame: a result with its files."""


class Breach(Exception):
    """A frame is invalid, so its sender is not trusted; handled inside this package."""


def frame(message: dict[str, Any]) -> bytes:
    """Encode one message."""
    text = json.dumps(message).encode()
    return struct.pack(">I", len(text)) + text


class Frames:
    """Decodes messages from a stream of bytes."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting = bytearray()

    def push(self, more: bytes) -> list[dict[str, Any]]:
        """The messages that are whole now.

        Raises:
            Breach: too long, or no JSON object.
        """
        self._waiting += more
        found: list[dict[str, Any]] = []
        while len(self._waiting) >= 4:
            length = struct.unpack_from(">I", self._waiting)[0]
            if length > MAX_FRAME_BYTES:
                raise Breach(f"a frame of {length} bytes")
            if len(self._waiting) < 4 + length:
                break
            try:
                message = json.loads(self._waiting[4 : 4 + length])
            except (ValueError, RecursionError) as error:
                raise Breach("a frame that is not JSON") from error
            if not isinstance(message, dict):
                raise Breach("a frame that is not an object")
            found.append(message)
            del self._waiting[: 4 + length]
        return found
