"""Saves and loads a training run: parameters, moments, progress.

One safetensors file, replaced whole: a reader sees one state or the next, never half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ossia.checkpoint.safetensors import PlannedTensor, SafetensorsFile, write_safetensors
from ossia.errors import CheckpointError

NAME = "training_state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW keeps both, Muon the first."""
_PROGRESS = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """The progress of a run; `step` is also the number of the next batch."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """The budget spent so far."""


def write(
    path: Path,
    progress: TrainingProgress,
    parameters: dict[str, Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write a training state atomically."""
    arrays: dict[str, NDArray[Any]] = {
        _PROGRESS: np.array([progress.step, progress.tokens, progress.seconds], np.float64)
    }
    for name, value in parameters.items():
        arrays[name] = _array(value)
        state = _owner(value, optimisers).state.get(value, {})
        arrays |= {f"{name}.{each}": _array(state[each]) for each in MOMENTS if each in state}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, [_plan(name, array) for name, array in arrays.items()], None)


def read(
    path: Path, parameters: dict[str, Tensor], optimisers: Sequence[torch.optim.Optimizer]
) -> TrainingProgress:
    """Fill parameters and moments from a training state.

    Raises:
        CheckpointError: the file is not the training state of a model of this shape.
    """
    file = SafetensorsFile(path)
    if _PROGRESS not in file.entries:
        raise CheckpointError(f"{path} is not a training state; choose another folder")
    step, tokens, seconds = file.view(_PROGRESS).tolist()
    for name, value in parameters.items():
        if name not in file.entries or file.view(name).shape != tuple(value.shape):
            raise CheckpointError(
                f"{path} lacks {name} with the shape {list(value.shape)}; "
                "it was trained in another shape, choose another folder"
            )
        with torch.no_grad():
            value.copy_(torch.from_numpy(file.view(name).copy()))
        if step:
            moments = [each for each in MOMENTS if f"{name}.{each}" in file.entries]
            _owner(value, optimisers).state[value] = {
                "step": torch.tensor(float(step), device=value.device),
                **{
                    each: torch.from_numpy(file.view(f"{name}.{each}").copy()).to(value.device)
                    for each in moments
                },
            }
    return TrainingProgress(step=int(step), tokens=int(tokens), seconds=seconds)


def _owner(value: Tensor, optimisers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """The optimiser that steps this parameter."""
    return next(
        each
        for each in optimisers
        if any(value is one for group in each.param_groups for one in group["params"])
    )


def _array(value: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().cpu().numpy()
    return array


def _plan(name: str, array: NDArray[Any]) -> PlannedTensor:
    def pieces() -> Iterator[NDArray[Any]]:
        yield array

    kind = "F64" if array.dtype == np.float64 else "F32"
    return PlannedTensor(name, kind, array.shape, pieces)
