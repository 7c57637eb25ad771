"""The losses of a log as a picture: `python -m ossia.train.plot FOLDER` writes loss.png there.

Draws and packs the PNG itself, so that no plotting library is needed. Knows no training.
"""

import argparse
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 900, 480
LEFT, BOTTOM, MARGIN = 60, 30, 30
SMOOTHING = 0.8
"""Of the drawn line: how much of its last value stays."""
NUM_TICKS = 6
_GLYPHS: Mapping[str, tuple[int, int, int, int, int]] = MappingProxyType(
    {
        "0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (7, 1, 7, 4, 7), "3": (7, 1, 7, 1, 7),
        "4": (5, 5, 7, 1, 1), "5": (7, 4, 7, 1, 7), "6": (7, 4, 7, 5, 7), "7": (7, 1, 1, 1, 1),
        "8": (7, 5, 7, 5, 7), "9": (7, 5, 7, 1, 7), ".": (0, 0, 0, 0, 2),
    }
)  # fmt: skip
"""Rows of three dots, as bits."""
_SCALE = 2
"""Pixels to a dot."""
INK, GREY, PALE = (30, 60, 140), (150, 150, 150), (190, 200, 225)

Picture = NDArray[np.uint8]


def main(argv: list[str] | None = None) -> None:
    """Draw the log of a run."""
    parser = argparse.ArgumentParser(prog="python -m ossia.train.plot", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run; its log.jsonl is read")
    folder = parser.parse_args(argv).folder
    points = losses((folder / "log.jsonl").read_text().splitlines())
    (folder / "loss.png").write_bytes(as_png(picture(points)))


def losses(lines: Sequence[str]) -> list[tuple[float, float]]:
    """Millions of tokens and the loss, of every line that has both."""
    told = [json.loads(line) for line in lines]
    return [(each["tokens"] / 1e6, each["loss"]) for each in told if "loss" in each]


def picture(points: Sequence[tuple[float, float]]) -> Picture:
    """Loss over tokens: every point pale, a smoothed line above them; [height, width, 3]."""
    canvas: Picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = max((y for _, y in points), default=1.0) or 1.0
    for nth in range(NUM_TICKS + 1):
        share = nth / NUM_TICKS
        row, column = _place(share, share)
        canvas[row, LEFT : WIDTH - MARGIN] = (235, 235, 235)
        _write(canvas, row - 5, 4, f"{most_y * share:.2f}")
        _write(canvas, HEIGHT - BOTTOM + 10, column - 12, f"{most_x * share:.2f}")
    canvas[MARGIN : HEIGHT - BOTTOM, LEFT] = GREY
    canvas[HEIGHT - BOTTOM, LEFT : WIDTH - MARGIN] = GREY
    smooth, last = None, None
    for x, y in points:
        row, column = _place(x / most_x, y / most_y)
        canvas[row - 1 : row + 1, column - 1 : column + 1] = PALE
        smooth = y if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * y
        here = _place(x / most_x, smooth / most_y)
        _line(canvas, last or here, here)
        last = here
    return canvas


def as_png(canvas: Picture) -> bytes:
    """Pack 8-bit RGB (PNG, third edition, sections 5 and 11)."""
    height, width, _ = canvas.shape
    rows = b"".join(b"\0" + row.tobytes() for row in canvas)  # 0: a row without a filter
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def _place(x: float, y: float) -> tuple[int, int]:
    """Row and column of a point given in shares of the axes."""
    row = HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - MARGIN)
    return int(row), int(LEFT + x * (WIDTH - MARGIN - LEFT))


def _line(canvas: Picture, begin: tuple[int, int], end: tuple[int, int]) -> None:
    """Two pixels thick."""
    count = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]), 1) + 1
    row = np.linspace(begin[0], end[0], count).astype(int)
    column = np.linspace(begin[1], end[1], count).astype(int)
    canvas[row, column] = INK
    canvas[row - 1, column] = INK


def _write(canvas: Picture, row: int, column: int, text: str) -> None:
    """Digits of three by five dots."""
    for nth, each in enumerate(text):
        for down, bits in enumerate(_GLYPHS[each]):
            for right in range(3):
                if bits >> (2 - right) & 1:
                    top, left = row + _SCALE * down, column + _SCALE * (4 * nth + right)
                    canvas[top : top + _SCALE, left : left + _SCALE] = (90, 90, 90)


if __name__ == "__main__":
    main()
