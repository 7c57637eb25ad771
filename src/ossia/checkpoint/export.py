"""Writes a checkpoint folder in any of the three published layouts, tensor by tensor.

Does not convert values: MXFP4 bytes and bfloat16 are written unchanged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.files import some, written_atomically
from ossia.checkpoint.folder import INDEX
from ossia.checkpoint.layouts import (
    BYTES,
    Layout,
    StoredTensor,
    is_packed,
    our_shapes,
    stored_tensors,
)
from ossia.checkpoint.safetensors import Array, PlannedTensor, write_safetensors
from ossia.errors import CheckpointError

_PIECE_BYTES = 2**26


def write_checkpoint(
    folder: str | Path,
    config: ModelConfig,
    tensors: Mapping[str, Array],
    layout: Layout,
    *,
    shards: int = 1,
    dtype: str = "BF16",
) -> None:
    """Write config.json, the weights and, for several Hugging Face shards, their index.

    Args:
        folder: created if missing; must not contain a checkpoint.
        config: determines the shapes of the tensors.
        tensors: exactly the names of `our_shapes`. Each is read once, when its turn comes, so
            a mapping that makes arrays on demand is never whole in memory.
        layout: `dense` takes the experts as `*_weight`, the other two as blocks and scales.
        shards: target number of files; fewer if single tensors are too large.
        dtype: of all unpacked tensors: BF16, F16 or F32; values are not converted.

    Raises:
        CheckpointError: the folder holds a checkpoint or cannot be written, or the layout cannot
            say a fact of the config. What was written until then is removed.
        ValueError: a tensor is missing, unknown, or of another shape or type.
    """
    folder = Path(folder)
    shapes = our_shapes(config, packed=is_packed(layout))
    if tensors.keys() != shapes.keys():
        raise ValueError(
            f"for the {layout} layout, missing: {some(shapes.keys() - tensors.keys()) or 'none'}; "
            f"unknown: {some(tensors.keys() - shapes.keys()) or 'none'}"
        )
    table = (
        config.to_original()
        if layout == "original"
        else config.to_hugging_face(packed=is_packed(layout))
    )
    planned = [_plan(stored, tensors, shapes, dtype) for stored in stored_tensors(config, layout)]
    files = _name_files(_split(planned, shards))
    _make_empty(folder)
    started: list[Path] = []
    try:
        for name, inside_file in files.items():
            started.append(folder / name)
            metadata = None if layout == "original" else {"format": "pt"}
            write_safetensors(folder / name, inside_file, metadata)
        if len(files) > 1 and layout != "original":
            started.append(folder / INDEX)
            _write_json(folder / INDEX, _index(files))
        started.append(folder / "config.json")
        _write_json(folder / "config.json", table)
    except BaseException:
        for path in started:
            with suppress(OSError):
                path.unlink()
        raise


def _plan(
    stored: StoredTensor,
    tensors: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
) -> PlannedTensor:
    def pieces() -> Iterator[Array]:
        for part in stored.parts:
            array = tensors[part.name]
            if array.shape != shapes[part.name]:
                raise ValueError(
                    f"{part.name} has the shape {array.shape}, not {shapes[part.name]}"
                )
            yield from _cut(array.swapaxes(-1, -2) if stored.transposed else array)

    kind = "U8" if stored.dtypes == BYTES else dtype
    return PlannedTensor(stored.name, kind, stored.shape, pieces)


def _cut(array: Array) -> Iterator[Array]:
    """Split into chunks of rows in C order, so that transposed arrays are copied in pieces."""
    step = max(1, _PIECE_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step])


def _split(planned: list[PlannedTensor], shards: int) -> list[list[PlannedTensor]]:
    """Split into runs of about equal size, in order."""
    if shards < 1:
        raise ValueError(f"shards is {shards}; at least one file is needed")
    total = sum(tensor.num_bytes for tensor in planned)
    runs: dict[int, list[PlannedTensor]] = {}
    before = 0
    for tensor in planned:
        middle = before + tensor.num_bytes // 2
        runs.setdefault(middle * shards // total, []).append(tensor)
        before += tensor.num_bytes
    return list(runs.values())


def _name_files(runs: list[list[PlannedTensor]]) -> dict[str, list[PlannedTensor]]:
    """Name the shards as published: counted from 0, "of" the last number."""
    last = len(runs) - 1
    if last == 0:
        return {"model.safetensors": runs[0]}
    return {f"model-{i:05}-of-{last:05}.safetensors": run for i, run in enumerate(runs)}


def _index(files: Mapping[str, Iterable[PlannedTensor]]) -> dict[str, object]:
    placed = [(tensor, name) for name, inside_file in files.items() for tensor in inside_file]
    return {
        "metadata": {"total_size": sum(tensor.num_bytes for tensor, _ in placed)},
        "weight_map": {tensor.name: name for tensor, name in placed},
    }


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be made a folder for weights: {error}") from error
    ours = {n for n in present if n in ("config.json", INDEX) or n.endswith(".safetensors")}
    if ours:
        raise CheckpointError(
            f"{folder} already holds {some(ours)}; choose an empty folder, or delete these first"
        )


def _write_json(path: Path, table: Mapping[str, object]) -> None:
    with written_atomically(path) as file:
        file.write(json.dumps(table, indent=2).encode() + b"\n")
