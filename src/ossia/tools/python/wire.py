"""Frames between processes: JSON with its length before it, in four bytes."""

import json
import struct
from typing import Any

MAX_FRAME_BYTES = 24 << 20
"""Of a result with its files; whoever sends more is not of ours."""


class Breach(Exception):
    """What came is no frame; whoever sent it can no longer be trusted. Never leaves the room."""


def frame(message: dict[str, Any]) -> bytes:
    """One message, as it is sent."""
    text = json.dumps(message).encode()
    return struct.pack(">I", len(text)) + text


class Frames:
    """Bytes in, messages out."""

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
                raise Breach("a frame that is no JSON") from error
            if not isinstance(message, dict):
                raise Breach("a frame that is no object")
            found.append(message)
            del self._waiting[: 4 + length]
        return found
