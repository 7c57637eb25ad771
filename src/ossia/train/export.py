"""Exports trained parameters as a checkpoint folder: experts in MXFP4, the rest in bfloat16.

The experts' values are those that were trained, since training already rounded them.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ossia.checkpoint import ModelConfig, write_checkpoint
from ossia.ops.mxfp4 import pack
from ossia.train.network import is_expert_matrix


def packed_tensors(parameters: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Every tensor of a packed checkpoint, by canonical name."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, value in parameters.items():
        array: NDArray[np.float32] = value.detach().cpu().numpy()
        if is_expert_matrix(name):
            stem, packed = name.removesuffix("_weight"), pack(array)
            tensors |= {f"{stem}_blocks": packed.blocks, f"{stem}_scales": packed.scales}
        else:
            tensors[name] = array.astype(ml_dtypes.bfloat16)
    return tensors


def write_packed(
    folder: Path, config: ModelConfig, parameters: Mapping[str, Tensor], tokenizer: Path
) -> None:
    """Write config.json, model.safetensors and tokenizer.json; replaces earlier ones.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    write_checkpoint(folder, config, packed_tensors(parameters), "hugging-face")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
