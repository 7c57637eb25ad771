"""One safetensors file: mapped and read without copies, or written as a stream.

Knows the format, not the model: `layouts.py` lists the tensors.

Source:
    the format's description in github.com/huggingface/safetensors (README.md, "Format").
"""

import json
import math
import mmap
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ossia.checkpoint.files import (
    drop_cached,
    open_regular,
    parse_json,
    prefetch,
    short,
    written_atomically,
)
from ossia.errors import CheckpointError

Array = NDArray[Any]

MAX_HEADER_BYTES = 2**23
"""The format allows 100 MB, but hostile ones cost seconds and gigabytes to parse; gpt-oss-120b
needs 0.1, and this much holds `MAX_TENSORS` lines."""
MAX_TENSORS = 32_768
MAX_AXES = 8
MAX_EXTENT = 2**31 - 1

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        name: np.dtype(kind)
        for name, kind in {
            "BOOL": np.bool_,
            "U8": np.uint8,
            "I8": np.int8,
            "F8_E4M3": ml_dtypes.float8_e4m3fn,
            "F8_E5M2": ml_dtypes.float8_e5m2,
            "F8_E8M0": ml_dtypes.float8_e8m0fnu,
            "U16": np.uint16,
            "I16": np.int16,
            "F16": np.float16,
            "BF16": ml_dtypes.bfloat16,
            "U32": np.uint32,
            "I32": np.int32,
            "F32": np.float32,
            "U64": np.uint64,
            "I64": np.int64,
            "F64": np.float64,
        }.items()
    }
)
"""The format's names of number types, and numpy's."""


class TensorEntry(NamedTuple):
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Offset of the first byte from the end of the header."""
    end: int


class SafetensorsFile:
    """A checked, mapped, read-only safetensors file; its arrays keep the mapping alive."""

    def __init__(self, path: Path) -> None:
        """Map the file and check every line of its header against the file's real size.

        Raises:
            CheckpointError: not a regular file, or not a safetensors file in every detail.
        """
        self.path = path
        try:
            with open_regular(path) as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                self._size = file.seek(0, os.SEEK_END)
                if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, self._size - 8):
                    raise CheckpointError(
                        f"{path} has {self._size} bytes and claims a header of {header_bytes}; "
                        f"it may be 2 to {MAX_HEADER_BYTES} and must fit: fetch the file again"
                    )
                file.seek(8)
                header = file.read(header_bytes)
                self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: cut short between the two calls
            raise CheckpointError(f"{path} cannot be mapped: {error}") from error
        self._start = 8 + header_bytes
        entries, metadata = _read_header(header, self._size - self._start, path)
        self.entries: Mapping[str, TensorEntry] = MappingProxyType(entries)
        """The tensors, in the order of their bytes."""
        self.metadata: Mapping[str, str] = MappingProxyType(metadata)
        """Free-form metadata."""

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors; the header not counted."""
        return self._size - self._start

    def view(self, name: str) -> Array:
        """Return a tensor as a read-only array over the mapped file.

        A tensor whose bytes are not aligned to its item size is copied instead: the
        format allows that, compiled kernels do not.

        Raises:
            KeyError: there is no such tensor.
            CheckpointError: the file was truncated since it was opened.
        """
        entry = self.entries[name]
        if self._map.size() < self._size:  # reading past the end would kill the program
            raise CheckpointError(
                f"{self.path} had {self._size} bytes when it was opened and has "
                f"{self._map.size()} now; something cut it short: fetch the file again"
            )
        dtype = DTYPES[entry.dtype]
        offset = self._start + entry.begin
        raw = np.frombuffer(self._map, np.uint8, count=entry.end - entry.begin, offset=offset)
        if offset % dtype.itemsize:
            raw = raw.copy()
            raw.flags.writeable = False
        return raw.view(dtype).reshape(entry.shape)

    def release(self, name: str) -> None:
        """Release the tensor's resident pages; a later access reads them again."""
        entry = self.entries[name]
        page = mmap.PAGESIZE
        first = -(-(self._start + entry.begin) // page) * page  # whole pages only, within it
        last = (self._start + entry.end) // page * page
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def prefetch(self, pieces: Mapping[str, Iterable[slice]]) -> None:
        """Advise the system to read parts of tensors into its cache, without waiting.

        Args:
            pieces: of each tensor, small ranges of its bytes.
        """
        prefetch(
            self.path,
            [
                (self._start + self.entries[name].begin + piece.start, piece.stop - piece.start)
                for name, ranges in pieces.items()
                for piece in ranges
            ],
        )

    def evict(self, name: str) -> None:
        """Release the tensor's pages and drop them from the system's cache."""
        self.release(name)
        entry = self.entries[name]
        drop_cached(self.path, self._start + entry.begin, entry.end - entry.begin)


class PlannedTensor(NamedTuple):
    """A tensor to write, described now and created when written."""

    name: str
    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[Array]]
    """Returns the values in C order, in pieces of any size; called once."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def write_safetensors(
    path: Path, tensors: Iterable[PlannedTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one file atomically and durably; an existing file is replaced.

    Args:
        path: of the file; its folder must exist.
        tensors: see `stream_safetensors`.
        metadata: free-form metadata; if empty, the header has none.

    Raises:
        CheckpointError: the file cannot be written.
        ValueError: a duplicate name, or pieces of another type or size than planned.
    """
    with written_atomically(path) as file:
        stream_safetensors(file, tensors, metadata)


def stream_safetensors(
    file: BinaryIO, tensors: Iterable[PlannedTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write header and tensors, with one piece in memory at a time.

    Order: widest type first, then by name, as the format's own library does, so that each is on
    a multiple of its item size. Arguments and errors: see `write_safetensors`.
    """
    ordered = sorted(tensors, key=lambda tensor: (-DTYPES[tensor.dtype].itemsize, tensor.name))
    header = _write_header(ordered, metadata)
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for tensor in ordered:
        _stream_tensor(file, tensor)


def _stream_tensor(file: BinaryIO, tensor: PlannedTensor) -> None:
    """Write one tensor; separate, so that its last piece is freed before the next tensor."""
    written = 0
    for piece in tensor.pieces():
        if piece.dtype != DTYPES[tensor.dtype]:
            raise ValueError(f"{tensor.name} is {piece.dtype}, planned as {tensor.dtype}")
        written += file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
    if written != tensor.num_bytes:
        raise ValueError(f"{tensor.name} has {written} bytes, {tensor.num_bytes} planned")


def _write_header(tensors: Sequence[PlannedTensor], metadata: Mapping[str, str] | None) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for tensor in tensors:
        if tensor.name in entries:
            raise ValueError(f"the name {tensor.name!r} stands twice")
        begin, end = end, end + tensor.num_bytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)  # so that the first tensor lies on 8 bytes


def _read_header(
    header: bytes, data_bytes: int, path: Path
) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Read the entries in byte order, checked for gaps and overlaps, and the metadata."""
    if not header.startswith(b"{"):
        raise CheckpointError(f"{path} has no safetensors header; fetch the file again")
    lines = parse_json(header, f"the header of {path}")
    metadata = _check_metadata(lines.pop("__metadata__", {}), path)
    if not 1 <= len(lines) <= MAX_TENSORS:
        raise CheckpointError(
            f"{path} holds {len(lines)} tensors, not 1 to {MAX_TENSORS}; is this a gpt-oss model?"
        )
    entries = [(name, _read_entry(f"{path}: {short(name)}", line)) for name, line in lines.items()]
    entries.sort(key=lambda pair: pair[1].begin)
    reached = 0
    for name, entry in entries:
        if entry.begin != reached:
            raise CheckpointError(
                f"{path}: {short(name)} begins at byte {entry.begin}, but the tensors before it "
                f"end at {reached}; the format allows no gap and no overlap: fetch the file again"
            )
        reached = entry.end
    if reached != data_bytes:
        raise CheckpointError(
            f"{path} has {data_bytes} bytes of tensors, but its header describes {reached}; "
            "it is cut short or has a foreign tail: fetch the file again"
        )
    return dict(entries), metadata


def _check_metadata(metadata: object, path: Path) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__ is not a table of strings; fetch it again")
    return metadata


def _read_entry(where: str, line: object) -> TensorEntry:
    if not isinstance(line, dict) or line.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} is described by {short(line)}, not dtype, shape, offsets")
    dtype, shape, offsets = line["dtype"], line["shape"], line["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(
            f"{where} has the dtype {short(dtype)}; known are {', '.join(DTYPES)}"
        )
    if not _counts(shape, 1, MAX_EXTENT) or len(shape) > MAX_AXES:
        raise CheckpointError(
            f"{where} has the shape {short(shape)}, not a list of at most {MAX_AXES} whole "
            f"numbers from 1 to {MAX_EXTENT}"
        )
    if not _counts(offsets, 0, 2**63) or len(offsets) != 2:
        raise CheckpointError(f"{where} has the offsets {short(offsets)}, not two byte counts")
    begin, end = offsets
    num_bytes = math.prod(shape) * DTYPES[dtype].itemsize  # Python integers: nothing overflows
    if end - begin != num_bytes:
        raise CheckpointError(
            f"{where} of {dtype} and shape {shape} needs {num_bytes} bytes, "
            f"but its offsets span {end - begin}; fetch the file again"
        )
    return TensorEntry(dtype, tuple(shape), begin, end)


def _counts(values: object, least: int, most: int) -> bool:
    """Whether this is a list of integers in the range; `True` and 1.0 are not integers."""
    return isinstance(values, list) and all(type(v) is int and least <= v <= most for v in values)
