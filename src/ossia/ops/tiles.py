"""Tiled weights, the layout of the fast kernels: sixteen rows interleaved, in blocks of 32.

The reference of the compiled version. Knows nothing of files, layers or what a matrix
is for. Letters: O output rows, I input columns, G groups of 16 rows, J blocks of 32 columns.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ossia.ops.mxfp4 import BLOCK, NEAREST_REACH, Mxfp4, pack

TILE_ROWS = 16
PACKED_BYTES, INT8_BYTES = TILE_ROWS * BLOCK // 2, TILE_ROWS * BLOCK
LARGEST_INT8 = 127

Role = Literal["projection", "gate_up", "down", "head"]
"""Role of a matrix, as far as its layout depends on it."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """A matrix or a stack: MXFP4 when its scales are bytes, int8 when they are float16.

    Byte 64j + 4r + k of an MXFP4 tile holds row r, column 8j + k in its low nibble and column
    8j + 4 + k in its high one. Byte 64j + 4r + k of an int8 tile is row r, column 4j + k.
    Rows and columns beyond the last are zeros.
    """

    values: NDArray[np.uint8] | NDArray[np.int8]
    """[..., G, J, 256] or [..., G, J, 512]"""
    scales: NDArray[np.uint8] | NDArray[np.float16]
    """[..., G, J, 16], one for each row of a tile"""
    rows: int
    columns: int

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        is_packed = self.scales.dtype == np.uint8
        size = PACKED_BYTES if is_packed else INT8_BYTES
        tail = (-(-self.columns // BLOCK), size)
        if (
            self.values.shape[-2:] != tail
            or self.scales.shape != (*self.values.shape[:-1], TILE_ROWS)
            or self.values.dtype != (np.uint8 if is_packed else np.int8)
            or self.scales.dtype not in (np.uint8, np.float16)
            or not 0 <= self.values.shape[-3] * TILE_ROWS - self.rows < 2 * TILE_ROWS
        ):
            raise ValueError(
                f"tiles of {self.values.dtype} {list(self.values.shape)} with scales of "
                f"{self.scales.dtype} {list(self.scales.shape)} do not make "
                f"{self.rows} x {self.columns}"
            )

    @property
    def is_packed(self) -> bool:
        """Whether the values are MXFP4."""
        return self.scales.dtype == np.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stored matrices: [..., O, I]."""
        return (*self.values.shape[:-3], self.rows, self.columns)


def empty_tiles(shape: tuple[int, ...], *, packed: bool, pairs: bool) -> Tiles:
    """Allocate tiles of [..., O, I]; gates and ups in `pairs` fill separate groups."""
    *outer, rows, columns = shape
    groups = 2 * -(-rows // (2 * TILE_ROWS)) if pairs else -(-rows // TILE_ROWS)
    grid = (*outer, groups, -(-columns // BLOCK))
    if packed:
        values, scales = np.empty((*grid, PACKED_BYTES), "u1"), np.empty((*grid, TILE_ROWS), "u1")
        return Tiles(values, scales, rows, columns)
    number, unit = np.empty((*grid, INT8_BYTES), "i1"), np.empty((*grid, TILE_ROWS), np.float16)
    return Tiles(number, unit, rows, columns)


def tile_mxfp4(packed: Mxfp4, *, gates_and_ups: bool = False) -> Tiles:
    """Tile packed weights: the order changes, no value does.

    Args:
        packed: [..., O, I].
        gates_and_ups: even rows are gates, odd ones ups of the same channel; sixteen gates come
            to stand before the sixteen ups that belong to them.
    """
    *_, rows, columns = packed.shape
    blocks = _in_groups(packed.blocks, gates_and_ups)  # [..., G, 16, J, 16]
    code = np.stack([blocks & 15, blocks >> 4], axis=-1)
    code = code.reshape(*blocks.shape[:-1], 4, 2, 4)  # G, r, J, j, h, k
    low, high = np.moveaxis(code, -2, 0)
    values = np.moveaxis(low | high << 4, -4, -2)  # G, J, j, r, k
    scales = np.moveaxis(_in_groups(packed.scales[..., None], gates_and_ups)[..., 0], -2, -1)
    return Tiles(
        np.ascontiguousarray(values).reshape(*scales.shape[:-1], PACKED_BYTES),
        np.ascontiguousarray(scales),
        rows,
        columns,
    )


def tile_int8(weight: NDArray[Any]) -> Tiles:
    """Round [..., O, I] to int8, a float16 scale for each 32 columns: the largest becomes 127.

    Raises:
        ValueError: a value is not finite, or too large for a float16 scale.
    """
    *outer, rows, columns = weight.shape
    wide = _whole_blocks(np.asarray(weight, np.float32))
    block = wide.reshape(*outer, rows, -1, BLOCK)
    with np.errstate(over="ignore"):  # infinity is refused below
        scale = (np.abs(block).max(axis=-1) / np.float32(LARGEST_INT8)).astype(np.float16)
    if not np.isfinite(scale).all():
        raise ValueError("weights are not finite or beyond 8e6; expected what int8 can hold")
    unit = np.where(scale > 0, scale, 1).astype(np.float32)[..., None]
    number = np.clip(np.rint(block / unit), -LARGEST_INT8, LARGEST_INT8).astype(np.int8)
    number = _in_groups(number.reshape(*outer, rows, -1, BLOCK), gates_and_ups=False)
    number = np.moveaxis(number.reshape(*number.shape[:-1], 8, 4), -4, -2)  # G, J, j, r, k
    scales = np.moveaxis(_in_groups(scale[..., None], gates_and_ups=False)[..., 0], -2, -1)
    return Tiles(
        np.ascontiguousarray(number).reshape(*scales.shape[:-1], INT8_BYTES),
        np.ascontiguousarray(scales),
        rows,
        columns,
    )


def tile_rounded(weight: NDArray[Any]) -> Tiles:
    """Round [..., O, I] to MXFP4 and tile it: a quarter of bfloat16's bytes, at a loss."""
    tiles = tile_mxfp4(pack(_whole_blocks(np.asarray(weight, np.float32)), NEAREST_REACH))
    return Tiles(tiles.values, tiles.scales, tiles.rows, weight.shape[-1])


def _whole_blocks(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    missing = -weight.shape[-1] % BLOCK
    return np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, missing)]) if missing else weight


def _in_groups(rows: NDArray[Any], gates_and_ups: bool) -> NDArray[Any]:
    """[..., O, J, X] -> [..., G, 16, J, X], the last group filled up with zeros."""
    *outer, count, blocks, size = rows.shape
    unit = 2 * TILE_ROWS if gates_and_ups else TILE_ROWS
    if missing := -count % unit:
        rows = np.pad(rows, [(0, 0)] * len(outer) + [(0, missing), (0, 0), (0, 0)])
    if gates_and_ups:
        pairs = rows.reshape(*outer, -1, TILE_ROWS, 2, blocks, size)
        rows = np.moveaxis(pairs, -3, -4)  # sixteen gates, then their ups
    return rows.reshape(*outer, -1, TILE_ROWS, blocks, size)
