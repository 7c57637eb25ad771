"""Rows of a mapped table that are read here and there: memory for them is given back now and then.

The system maps what lies around a page that is touched, up to 2 MB of it, so a table of a gigabyte
would soon be resident for a few rows of each token. Its pages stay in the system's cache.
"""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.ops.weights import Weight


class MappedRows:
    """Counts the rows that are read of one table; does nothing unless a file is mapped there."""

    def __init__(self, table: Weight, max_resident: int) -> None:
        """`max_resident`: rows that are read before memory is given back, up to 2 MB for each."""
        self._count, self._max_resident = 0, max_resident
        self._map = _map_of(table)
        if self._map is not None:
            begin = np.frombuffer(self._map, np.uint8).ctypes.data
            first = table.ctypes.data - begin
            self._start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
            self._length = (first + table.nbytes - self._start) // mmap.PAGESIZE * mmap.PAGESIZE

    def count_read(self, count: int) -> None:
        """So many rows were; call it when they are no longer looked at."""
        self._count += count
        if self._count >= self._max_resident and self._map is not None and self._length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, self._start, self._length)
            self._count = 0


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The read-only mapping that an array lies in, if one is known and this system can."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    # only what cannot have been written may be dropped
    is_ours = isinstance(base, mmap.mmap) and not array.flags.writeable
    return base if is_ours and hasattr(mmap, "MADV_DONTNEED") else None
