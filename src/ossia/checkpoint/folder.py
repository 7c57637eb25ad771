"""Opens a checkpoint folder: config, index and weights.

Does not know the names within a layout, and only locates the tokenizer.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ossia.checkpoint.config import ModelConfig, read_config
from ossia.checkpoint.files import inside, open_regular, read_json, short, some
from ossia.checkpoint.layouts import Layout, detect_layout
from ossia.checkpoint.safetensors import MAX_TENSORS, SafetensorsFile
from ossia.checkpoint.tensors import Tensors, locate_tensors
from ossia.errors import CheckpointError

INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 2**24
MAX_FILES = 1000

_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,200}\.safetensors")
_LARGE = (
    "embedding",
    "head",
    "q_weight",
    "k_weight",
    "v_weight",
    "out_weight",
    "gate_up_weight",
    "down_weight",
    "gate_up_blocks",
    "gate_up_scales",
    "down_blocks",
    "down_scales",
)
"""Tensors not read when opening, since that would take as long as loading: see `verify_values`."""


class Checkpoint(NamedTuple):
    """An open gpt-oss checkpoint whose names, shapes and types match its config."""

    folder: Path
    config: ModelConfig
    layout: Layout
    tensors: Tensors
    tokenizer_path: Path | None
    """The folder's tokenizer.json; without one the model works with token ids only."""
    files: tuple[Path, ...]
    total_bytes: int
    """Bytes of all tensors; headers not counted."""
    unknown_keys: tuple[str, ...]
    """Unknown keys of config.json, to be reported."""


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Open a folder in any of the three published layouts; takes no time and no memory.

    Norms, biases, sinks and routers are read and must be finite; the large tensors are only
    mapped. Check their values while preparing them (`Tensors.verify`) or by `verify_values`.

    Raises:
        CheckpointError: the folder is not a complete and consistent gpt-oss checkpoint. The message
            names the file, what was found, what was expected and what to do.
    """
    folder = Path(folder)
    names = _names_in(folder)
    if "config.json" not in names:
        raise CheckpointError(
            f"{folder} has no config.json; give the folder that holds it and the "
            "safetensors of a gpt-oss model"
        )
    config, unknown_keys = read_config(inside(folder, "config.json"))
    if INDEX in names:
        where, files, placed = _open_indexed(folder)
    else:
        where, files, placed = _open_all(folder, names)
    layout = detect_layout(placed.keys(), where)
    tensors = locate_tensors(placed, config, layout, where)
    small = [name for name in tensors if not name.endswith(_LARGE)]
    tensors.prefetch(small)
    for name in small:
        tensors.verify(name)
    return Checkpoint(
        folder=folder,
        config=config,
        layout=layout,
        tensors=tensors,
        tokenizer_path=_tokenizer_path(folder, names),
        files=tuple(file.path for file in files),
        total_bytes=sum(file.tensor_bytes for file in files),
        unknown_keys=unknown_keys,
    )


def verify_values(checkpoint: Checkpoint, on_tensor: Callable[[str], None] | None = None) -> None:
    """Read the whole checkpoint once and refuse NaN, infinity and scale bytes of 255.

    Args:
        checkpoint: read tensor by tensor; the memory of each is released at once.
        on_tensor: called with the name of each verified tensor.

    Raises:
        CheckpointError: names the file, the tensor and the place of the first bad value.
    """
    for name in checkpoint.tensors:
        checkpoint.tensors.verify(name)
        checkpoint.tensors.release(name)
        if on_tensor:
            on_tensor(name)


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except NotADirectoryError as error:
        raise CheckpointError(f"{folder} is a file; give the folder in which it lies") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a folder that can be read: {error}") from error


_Opened = tuple[str, list[SafetensorsFile], Mapping[str, SafetensorsFile]]
"""Source of the list of tensors, the files in order, and the file of each stored tensor."""


def _open_indexed(folder: Path) -> _Opened:
    path = inside(folder, INDEX)
    table = read_json(path, MAX_INDEX_BYTES)
    shard_of = table.get("weight_map")
    if not isinstance(shard_of, dict) or not 1 <= len(shard_of) <= MAX_TENSORS:
        raise CheckpointError(
            f"{path} has the weight_map {short(shard_of)}, not a table of 1 to {MAX_TENSORS} names"
        )
    for shard in shard_of.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise CheckpointError(
                f"{path} names the file {short(shard)}; a shard must be NAME.safetensors in the "
                "same folder: do not trust this checkpoint"
            )
    shards = sorted(set(shard_of.values()))
    _check_number(len(shards), folder)
    files = {shard: SafetensorsFile(inside(folder, shard)) for shard in shards}
    for shard, file in files.items():
        listed = {name for name, named in shard_of.items() if named == shard}
        _check_listed(path, file, listed)
    total, listed_total = sum(f.tensor_bytes for f in files.values()), _total_size(table)
    if listed_total != total:
        raise CheckpointError(
            f"{path} has the total_size {short(listed_total)}, but its files hold {total} bytes "
            "of tensors; fetch the whole checkpoint again"
        )
    return str(path), list(files.values()), {name: files[s] for name, s in shard_of.items()}


def _check_listed(index: Path, file: SafetensorsFile, listed: set[str]) -> None:
    if missing := listed - file.entries.keys():
        raise CheckpointError(
            f"{file.path} lacks {some(missing)}, which {index.name} says it holds; "
            "fetch the whole checkpoint again"
        )
    if unlisted := file.entries.keys() - listed:
        raise CheckpointError(
            f"{file.path} holds {some(unlisted)}, which {index.name} does not list there; "
            "fetch the whole checkpoint again"
        )


def _total_size(table: Mapping[str, object]) -> object:
    metadata = table.get("metadata")
    return metadata.get("total_size") if isinstance(metadata, dict) else None


def _open_all(folder: Path, names: frozenset[str]) -> _Opened:
    """Open every safetensors file of a folder without an index, as OpenAI publishes."""
    shards = sorted(n for n in names if n.endswith(".safetensors") and not n.startswith("."))
    if not shards:
        raise CheckpointError(
            f"{folder} holds neither {INDEX} nor any *.safetensors; the weights are missing: "
            "fetch the whole checkpoint"
        )
    _check_number(len(shards), folder)
    files = [SafetensorsFile(inside(folder, shard)) for shard in shards]
    placed: dict[str, SafetensorsFile] = {}
    for file in files:
        if twice := placed.keys() & file.entries.keys():
            raise CheckpointError(
                f"{file.path} holds {some(twice)}, which {placed[min(twice)].path.name} holds too; "
                f"keep one of the files, or add the {INDEX} that says which counts"
            )
        placed |= dict.fromkeys(file.entries, file)
    return str(folder), files, placed


def _check_number(num_files: int, folder: Path) -> None:
    if num_files > MAX_FILES:
        raise CheckpointError(
            f"{folder} has {num_files} weight files; at most {MAX_FILES} are read"
        )


def _tokenizer_path(folder: Path, names: frozenset[str]) -> Path | None:
    if "tokenizer.json" not in names:
        return None
    path = inside(folder, "tokenizer.json")
    open_regular(path).close()
    return path
