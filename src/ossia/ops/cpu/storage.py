"""Converts stored arrays to the kernels' inputs: in place if possible, else widened.

Knows the number formats, not the roles of matrices.
"""

import math
import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import ossia.ops.cpu._native as _native
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.tiles import Tiles
from ossia.ops.weights import Weight

CACHE_LINE = 64


class KvPages(NamedTuple):
    """One layer's pool of KV pages, and the kernels' view of it."""

    bytes_PKY: NDArray[np.uint8]
    native: _native.Pages

    @classmethod
    def new(cls, dtype: str, num_pages: int, page_tokens: int, heads: int, head_dim: int) -> Self:
        """Reserve memory for keys and values; it is committed when used."""
        size = _native.Pages.head_bytes(dtype, page_tokens, head_dim)
        shape = (num_pages, heads, size)
        room = np.zeros(math.prod(shape) + CACHE_LINE, np.uint8)
        first = -room.ctypes.data % CACHE_LINE
        bytes_PKY = room[first : first + math.prod(shape)].reshape(shape)
        return cls(bytes_PKY, _native.Pages(bytes_PKY, dtype, page_tokens, head_dim))

    def copy(self, source_P: Sequence[int], target_P: Sequence[int]) -> None:
        for source, target in zip(source_P, target_P, strict=True):
            self.bytes_PKY[target] = self.bytes_PKY[source]


def stored(weight: Mxfp4 | Tiles | Weight) -> _native.Stored:
    """Wrap a matrix or stack; without a copy if it is packed, or contiguous bfloat16 or float32."""
    if isinstance(weight, Tiles):
        stack = (-1, *weight.values.shape[-3:])
        values = _in_order(weight.values).view(np.uint8).reshape(stack)
        scales = _in_order(weight.scales).reshape(*values.shape[:-1], -1)
        if not weight.is_packed:
            scales = scales.view(np.uint16)  # the bits: float16 crosses no border
        return _native.Stored(values, scales, weight.rows, weight.columns)
    if isinstance(weight, Mxfp4):
        return _native.Stored(_in_order(weight.blocks), _in_order(weight.scales))
    if weight.dtype == ml_dtypes.bfloat16:  # the bits: numpy's bfloat16 crosses no border
        return _native.Stored(_in_order(weight).view(np.uint16))
    return _native.Stored(_in_order(np.asarray(weight, np.float32)))


def floats(weight: Weight) -> NDArray[np.float32]:
    """Copy a vector to float32."""
    return np.array(weight, np.float32, order="C")


def _in_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array if it is contiguous and aligned, else such a copy."""
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])


class MappedRows:
    """Releases the resident pages of a mapped table periodically; ignores other arrays.

    The system maps up to 2 MB around each touched page, so a table of a gigabyte would soon be
    resident for a few rows per token. Its pages stay in the system's cache.
    """

    def __init__(self, table: Weight, max_resident: int) -> None:
        """`max_resident`: rows read before memory is released, up to 2 MB for each."""
        self._count, self._max_resident = 0, max_resident
        self._map = _map_of(table)
        if self._map is not None:
            begin = np.frombuffer(self._map, np.uint8).ctypes.data
            first = table.ctypes.data - begin
            self._start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
            self._length = (first + table.nbytes - self._start) // mmap.PAGESIZE * mmap.PAGESIZE

    def count_read(self, count: int) -> None:
        """Count rows that were read and are no longer used."""
        self._count += count
        if self._count >= self._max_resident and self._map is not None and self._length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, self._start, self._length)
            self._count = 0


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the read-only mapping that contains an array, if the system supports releasing it."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    # only read-only mappings may be dropped
    is_ours = isinstance(base, mmap.mmap) and not array.flags.writeable
    return base if is_ours and hasattr(mmap, "MADV_DONTNEED") else None
