"""Scores of the vocabulary after a step, each as exact as it is asked for, and no sooner.

Knows no request and no sampling. Letters: R rows that sample, V vocabulary, N chosen ids.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.model.transformer import Transformer
from ossia.ops.api import Int32

Float32 = NDArray[np.float32]

PARTS = 8
"""In which one row is scored exactly, so that no whole head of a mapped file is ever resident."""


class Scores:
    """All rows of one step; the head is read when the first row asks."""

    def __init__(self, model: Transformer[Any], hidden_TD: Any, row_R: Int32) -> None:
        self._model = model
        self._hidden_TD = hidden_TD
        self.row_R = row_R
        self.size = model.config.vocab_size

    @cached_property
    def near_RV(self) -> Float32 | None:
        """Rounded scores from few bytes, or None where the backend has none to offer."""
        ops, head = self._model.ops, self._model.weights.head
        near_RV = ops.scan(self._hidden_TD, self.row_R, head)
        return None if near_RV is None else ops.to_numpy(near_RV)

    @cached_property
    def exact_RV(self) -> Float32:
        """Exact scores of all rows."""
        ops, head = self._model.ops, self._model.weights.head
        exact_RV: Float32 = ops.to_numpy(ops.unembed(self._hidden_TD, self.row_R, head))
        return exact_RV

    def exact_ids(self, row: int, id_N: Int32) -> Float32:
        """The same bits, for one token of the step and some ids."""
        ops, head = self._model.ops, self._model.weights.head
        exact_N: Float32 = ops.to_numpy(ops.unembed_ids(self._hidden_TD, row, id_N, head))
        return exact_N


class RowScores:
    """Scores of one row."""

    def __init__(self, scores: Scores, place: int) -> None:
        self._scores = scores
        self._place = place

    @property
    def size(self) -> int:
        """Ids in the vocabulary."""
        return self._scores.size

    @property
    def near_V(self) -> Float32 | None:
        """Rounded scores, or None; the head is scanned for all rows of the step at once."""
        near_RV = self._scores.near_RV
        return None if near_RV is None else near_RV[self._place]

    @cached_property
    def exact_V(self) -> Float32:
        """Exact scores, of this row alone where the others may do with less."""
        if self._scores.near_RV is None:
            whole_V: Float32 = self._scores.exact_RV[self._place]
            return whole_V
        parts = np.array_split(np.arange(self.size, dtype=np.int32), PARTS)
        return np.concatenate([self.exact_ids(part) for part in parts])

    def exact_ids(self, id_N: Int32) -> Float32:
        """Exact scores of these ids."""
        return self._scores.exact_ids(int(self._scores.row_R[self._place]), id_N)
