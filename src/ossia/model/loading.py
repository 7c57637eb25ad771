"""Repacks a checkpoint's weights into the backend's layout, once, into a prepared file.

Knows the role of each tensor; knows neither the layouts of backends nor the format of prepared
files.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ossia.checkpoint.find import prepared_folder
from ossia.checkpoint.folder import Checkpoint
from ossia.checkpoint.prepared import (
    PreparedFile,
    check_space,
    exclusive_writer,
    prepared_path,
    prepared_writer,
    source_digest,
)
from ossia.checkpoint.safetensors import Array
from ossia.errors import CheckpointError
from ossia.ops.api import Ops
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.tiles import Role, Tiles
from ossia.ops.weights import Weight

SMALLEST_FILE = 2**28
"""Bytes of repacked weights below which they are repacked at every start."""

IN_EVERY_LAYER: Mapping[str, Role] = MappingProxyType(
    {
        "q_weight": "projection",
        "k_weight": "projection",
        "v_weight": "projection",
        "out_weight": "projection",
        "gate_up": "gate_up",
        "down": "down",
    }
)
"""Weights repacked in every layer. Experts that are not MXFP4 stay as stored."""

OUTSIDE: Mapping[str, tuple[str, Role]] = MappingProxyType({"head_scan": ("head", "head")})
"""Repacked copies of tensors that stay too."""
READ_ON = frozenset(source for source, _ in OUTSIDE.values())

Progress = Callable[[str, float], None]
"""Called with the phase and its progress, 0 to 1."""


class RepackedWeight(NamedTuple):
    """A matrix or stack to repack."""

    name: str
    sources: tuple[str, ...]
    """One float tensor, or MXFP4 blocks and scales."""
    role: Role
    num_bytes: int
    """Size when repacked."""

    @property
    def layer(self) -> str:
        """Prefix of its name; parts of a layer may share a stored tensor."""
        return self.name.rpartition(".")[0]

    @property
    def arrays(self) -> tuple[str, str]:
        """Names of the values and the scales in a prepared file."""
        return f"{self.name}.values", f"{self.name}.scales"


class Repacking:
    """The repacked weights of one checkpoint for one backend: in memory or in a file."""

    def __init__(self, checkpoint: Checkpoint, ops: Ops[Any], layout: str) -> None:
        self.checkpoint = checkpoint
        self.ops = ops
        self.layout = layout
        self._parts = list(self._find_parts())
        self.num_bytes = sum(part.num_bytes for part in self._parts)
        """Approximate size of all repacked weights."""

    @property
    def is_worth_a_file(self) -> bool:
        """Whether a prepared file saves noticeable time."""
        return self.num_bytes >= SMALLEST_FILE

    @cached_property
    def source(self) -> str:
        """Digest of the checkpoint."""
        return source_digest(self.checkpoint.files)

    def in_memory(self, progress: Progress) -> dict[str, Tiles]:
        """Repack all weights into memory.

        Raises:
            CheckpointError: a weight is not finite or too large.
        """
        return dict(self._repacked(progress, "repack", self.checkpoint.tensors.release))

    def path(self, folder: Path) -> Path:
        """Return the path of the prepared file."""
        return prepared_path(folder, self.checkpoint.folder, self.layout)

    def open(self, path: Path) -> PreparedFile:
        """Open the prepared file and check that its arrays are those of this backend.

        Raises:
            CheckpointError: it is damaged or out of date.
        """
        file = PreparedFile(path, layout=self.layout, source=self.source)
        self.tiles(file)
        return file

    def tiles(self, file: PreparedFile) -> dict[str, Tiles]:
        """Return the repacked weights by name, as views of the mapped file.

        Raises:
            CheckpointError: names or shapes are not those of this checkpoint.
        """
        expected = {name for part in self._parts for name in part.arrays}
        if expected != set(file.names):
            raise CheckpointError(f"{file.path} is out of date: it holds other arrays")
        found = {}
        for part in self._parts:
            values, scales = (file.view(name) for name in part.arrays)
            rows, columns = self._weight(part).shape[-2:]
            try:
                found[part.name] = tiles = Tiles(values, scales, rows, columns)
            except ValueError as error:
                raise CheckpointError(f"{file.path} is out of date: {error}") from error
            if tiles.shape != self._weight(part).shape:
                raise CheckpointError(f"{file.path} is out of date: {part.name} has another shape")
        return found

    def write(self, path: Path, progress: Progress) -> None:
        """Write the prepared file, one matrix at a time; source pages are released once read.

        Raises:
            CheckpointError: a weight is not finite or too large, or the disk is full.
        """
        path.unlink(missing_ok=True)  # out of date, and its space is needed
        check_space(path, self.num_bytes)
        phase = f"write {self.num_bytes / 1e9:.3g} GB of prepared weights, once"
        with prepared_writer(
            path,
            layout=self.layout,
            source=self.source,
            model=self.checkpoint.folder,
            max_arrays=2 * len(self._parts),
        ) as writer:
            for name, tiles in self._repacked(progress, phase, self.checkpoint.tensors.evict):
                writer.add(f"{name}.values", tiles.values)
                writer.add(f"{name}.scales", tiles.scales)

    def _repacked(
        self, progress: Progress, phase: str, leave: Callable[[str], None]
    ) -> Iterator[tuple[str, Tiles]]:
        done = 0
        for _, layer in groupby(self._parts, lambda part: part.layer):
            parts = list(layer)
            for part in parts:
                progress(phase, done / self.num_bytes)
                yield part.name, self._repack(part)
                done += part.num_bytes
            for source in (name for part in parts for name in part.sources):
                # what is read again with every token stays in the system's cache
                (self.checkpoint.tensors.release if source in READ_ON else leave)(source)
        progress(phase, 1.0)

    def _repack(self, part: RepackedWeight) -> Tiles:
        for source in part.sources:
            self.checkpoint.tensors.verify(source)
        try:
            tiles = self.ops.repack(part.role, self._weight(part))
        except ValueError as error:
            source = self.checkpoint.tensors.source(part.sources[0])
            raise CheckpointError(f"{source} cannot be repacked: {error}") from error
        assert isinstance(tiles, Tiles), "a backend tiles all matrices of a role or none"
        return tiles

    def _weight(self, part: RepackedWeight) -> Mxfp4 | Weight:
        return _as_weight([self.checkpoint.tensors[name] for name in part.sources])

    def _find_parts(self) -> Iterator[RepackedWeight]:
        """Yield the weights that the backend tiles, in the order of the layers."""
        tensors = self.checkpoint.tensors
        sizes: dict[object, int] = {}
        for name, source, role in _candidates(self.checkpoint.config.num_hidden_layers):
            packed = (f"{source}_blocks", f"{source}_scales")
            sources = packed if packed[0] in tensors else (source,)
            if sources[0] in tensors:
                arrays = [tensors[each] for each in sources]
                kind = (role, *((array.shape, array.dtype) for array in arrays))
                if kind not in sizes:
                    sizes[kind] = self._tiled_bytes(role, arrays)
                if sizes[kind]:
                    yield RepackedWeight(name, sources, role, sizes[kind])

    def _tiled_bytes(self, role: Role, arrays: list[Array]) -> int:
        """Compute the repacked size from a few rows of zeros; 0: not repacked."""
        *outer, rows, _ = _as_weight(arrays).shape
        few, depth = 32, len(outer)
        zeros = [np.zeros((*[1] * depth, few, *a.shape[depth + 1 :]), a.dtype) for a in arrays]
        tiles = self.ops.repack(role, _as_weight(zeros))
        if not isinstance(tiles, Tiles):
            return 0
        return (tiles.values.nbytes + tiles.scales.nbytes) * -(-rows // few) * math.prod(outer)


def _candidates(num_layers: int) -> Iterator[tuple[str, str, Role]]:
    """Yield name, source's name and role of each candidate."""
    for index in range(num_layers):
        for name, role in IN_EVERY_LAYER.items():
            yield f"layers.{index}.{name}", f"layers.{index}.{name}", role
    for name, (source, role) in OUTSIDE.items():
        yield name, source, role


def _as_weight(arrays: Sequence[Array]) -> Mxfp4 | Weight:
    return arrays[0] if len(arrays) == 1 else Mxfp4(*arrays)


def load_weights(
    checkpoint: Checkpoint,
    ops: Ops[Any],
    *,
    folder: str | Path | None,
    progress: Progress,
    notice: Callable[[str], None],
) -> Mapping[str, Weight]:
    """Load the checkpoint's tensors by name, with tiles for those that the backend repacks.

    Args:
        checkpoint: open; its MXFP4 scales are checked unless a prepared file exists.
        ops: the backend; one without a layout gets the tensors as stored.
        folder: of the prepared file, which is written if missing, damaged or out of date.
            auto: in the user's cache; None, or a small model: repacked into memory.
        progress: called with phase and share.
        notice: called with each warning for the user.

    Raises:
        CheckpointError: a weight is not finite or too large, or the disk is full.
    """
    tensors = checkpoint.tensors
    if ops.layout is None:
        progress("verify", 0.0)
        tensors.verify_scales()
        return tensors
    work = Repacking(checkpoint, ops, ops.layout)
    if folder is None or not work.is_worth_a_file:
        return {**tensors, **work.in_memory(progress)}
    path = work.path(prepared_folder(folder))
    try:
        file = open_or_write(work, path, progress, notice)
    except OSError as error:
        notice(
            f"{path.parent} cannot be written ({error.strerror}), so the weights are prepared in "
            "memory at every start; choose another folder with --prepared-folder"
        )
        return {**tensors, **work.in_memory(progress)}
    return {**tensors, **work.tiles(file)}


def open_or_write(
    work: Repacking, path: Path, progress: Progress, notice: Callable[[str], None]
) -> PreparedFile:
    """Open the prepared file; write it first if it is missing, damaged or out of date.

    Raises:
        CheckpointError: a weight is not finite or too large, or the disk is full.
        OSError: the folder cannot be created or written.
    """
    if path.exists():
        try:
            return work.open(path)
        except CheckpointError as error:
            notice(f"{error}; it is made again")
    waiting = "wait for another process to prepare the weights"
    with exclusive_writer(path, lambda: progress(waiting, 0.0)):
        if path.exists():
            with suppress(CheckpointError):
                return work.open(path)  # another process has written it meanwhile
        work.write(path, progress)
    return work.open(path)
