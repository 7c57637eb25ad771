"""The weights of an open checkpoint by ossia's names, as views of the mapped files; validation.

Does not know how the files were found, nor how the weights are used.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.files import some
from ossia.checkpoint.layouts import Layout, StoredTensor, is_packed, our_shapes, stored_tensors
from ossia.checkpoint.safetensors import Array, SafetensorsFile
from ossia.errors import CheckpointError

SCALE_NAN = 255
"""The scale byte for NaN in the OCP MX format; gpt-oss never uses it."""
_CHUNK_BYTES = 2**24


class TensorLocation(NamedTuple):
    """Location of a tensor in the files."""

    file: SafetensorsFile
    stored: str
    rows: slice
    transposed: bool


class Tensors(Mapping[str, Array]):
    """Maps ossia's names, in layer order, to read-only arrays that are loaded when accessed.

    Every access makes a new view. The dense layout's `gate_up_weight` and `down_weight` are
    transposed views and not contiguous; all others are.
    """

    def __init__(self, locations: Mapping[str, TensorLocation]) -> None:
        self._locations = locations

    def __getitem__(self, name: str) -> Array:
        """Return the view; raises CheckpointError if the file was truncated since it was opened."""
        location = self._locations[name]
        view = location.file.view(location.stored)[location.rows]
        return view.swapaxes(-1, -2) if location.transposed else view

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)

    def source(self, name: str) -> str:
        """Return file and stored name of a tensor, for messages."""
        location = self._locations[name]
        return f"{location.file.path}: {location.stored}"

    def verify(self, name: str) -> None:
        """Read and validate every value of a tensor.

        Raises:
            CheckpointError: NaN, infinity or a scale byte 255; MXFP4 blocks cannot be wrong.
        """
        if name.endswith("_scales"):
            check_scales(self[name], where=self.source(name))
        elif not name.endswith("_blocks"):
            check_finite(self[name], where=self.source(name))

    def verify_scales(self) -> None:
        """Validate every MXFP4 scale byte: 600 MB of 20b, less than a twentieth of its bytes.

        Raises:
            CheckpointError: one is 255 (NaN).
        """
        for name in self:
            if name.endswith("_scales"):
                self.verify(name)

    def release(self, name: str) -> None:
        """Release the tensor's resident pages; a later access reads them again."""
        location = self._locations[name]
        location.file.release(location.stored)

    def prefetch(self, names: Iterable[str]) -> None:
        """Advise the system to read these small tensors into its cache, without waiting."""
        wanted: dict[SafetensorsFile, dict[str, list[slice]]] = {}
        for location in map(self._locations.__getitem__, names):
            entry = location.file.entries[location.stored]
            whole = [slice(0, entry.end - entry.begin)]
            wanted.setdefault(location.file, {})[location.stored] = whole
        for file, pieces in wanted.items():
            file.prefetch(pieces)

    def evict(self, name: str) -> None:
        """Release the tensor's pages and drop them from the system's cache."""
        location = self._locations[name]
        location.file.evict(location.stored)


def locate_tensors(
    files: Mapping[str, SafetensorsFile], config: ModelConfig, layout: Layout, where: str
) -> Tensors:
    """Match the stored tensors against the configuration, and map them to ossia's names.

    Args:
        files: the file of every stored tensor.
        config: determines the expected tensors and their shapes.
        layout: determines their stored names and splits.
        where: the folder or index, for the message.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape or type.
    """
    expected = {stored.name: stored for stored in stored_tensors(config, layout)}
    missing, unknown = expected.keys() - files.keys(), files.keys() - expected.keys()
    problems = [f"lacks {some(missing)}"] if missing else []
    problems += [f"has {some(unknown)}, unknown for gpt-oss"] if unknown else []
    if problems:
        raise CheckpointError(
            f"{where} {' and '.join(problems)}; config.json asks for exactly {len(expected)} "
            "tensors: fetch the whole checkpoint again, or correct config.json"
        )
    locations = {}
    for stored in expected.values():
        file = files[stored.name]
        _check_entry(file, stored)
        first = 0
        for part in stored.parts:
            rows = slice(first, first + part.rows)
            locations[part.name] = TensorLocation(file, stored.name, rows, stored.transposed)
            first += part.rows
    return Tensors({name: locations[name] for name in our_shapes(config, packed=is_packed(layout))})


def _check_entry(file: SafetensorsFile, stored: StoredTensor) -> None:
    entry = file.entries[stored.name]
    if entry.shape != stored.shape:
        raise CheckpointError(
            f"{file.path}: {stored.name} has the shape {list(entry.shape)}, but config.json makes "
            f"it {list(stored.shape)}; the two do not belong together"
        )
    if entry.dtype not in stored.dtypes:
        raise CheckpointError(
            f"{file.path}: {stored.name} is of {entry.dtype}, not {' or '.join(stored.dtypes)}; "
            "save the model in one of these"
        )


def check_finite(values: Array, *, where: str) -> None:
    """Refuse NaN and infinity.

    Args:
        values: bfloat16, float16, float32 or float64, of any shape and strides; read in chunks.
        where: file and tensor, for the message.

    Raises:
        CheckpointError: a value is not finite; the message names the first.
    """
    for start, chunk in _chunks(values):
        if chunk.dtype == ml_dtypes.bfloat16:  # on the bits: ten times as fast
            bad = (chunk.view(np.uint16) & 0x7F80) == 0x7F80
        else:
            bad = ~np.isfinite(chunk)
        if bad.any():
            index = np.argwhere(bad)[0]
            index[0] += start
            raise CheckpointError(
                f"{where} holds {float(values[tuple(index)])} at {index.tolist()}; every weight "
                "must be finite: fetch the file again, or repair the fine-tune that wrote it"
            )


def check_scales(scales_NOB: Array, *, where: str) -> None:
    """Refuse MXFP4 scale bytes that are not a number.

    Args:
        scales_NOB: uint8, one for each block of 32 values; read in chunks.
        where: file and tensor, for the message.

    Raises:
        CheckpointError: a scale byte is 255.
    """
    for start, chunk in _chunks(scales_NOB):
        if chunk.max() == SCALE_NAN:
            index = np.argwhere(chunk == SCALE_NAN)[0]
            index[0] += start
            raise CheckpointError(
                f"{where} holds the scale byte {SCALE_NAN} (not a number) at {index.tolist()}; "
                "0 to 254 have a meaning: fetch the file again"
            )


def _chunks(values: Array) -> Iterator[tuple[int, Array]]:
    """Split an array along its first axis; yield each chunk with its start index."""
    step = max(1, _CHUNK_BYTES * len(values) // values.nbytes)
    for start in range(0, len(values), step):
        yield start, values[start : start + step]
