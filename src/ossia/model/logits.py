"""Logits of a step, computed lazily and only as exactly as needed; or of a whole text.

Knows no request and no sampling. Letters: T tokens, R rows that sample, V vocabulary, N chosen ids.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import PAGE_TOKENS, KvCache
from ossia.model.transformer import Transformer
from ossia.ops.api import Int32

Float32 = NDArray[np.float32]

NUM_PARTS = 8
"""Parts of an exact row: a mapped head is never resident as a whole."""


class StepLogits:
    """Logits of all rows of one step, computed when first needed."""

    def __init__(self, model: Transformer[Any], hidden_TD: Any, row_R: Int32) -> None:
        self._model = model
        self._hidden_TD = hidden_TD
        self.row_R = row_R
        self.size = model.config.vocab_size

    @cached_property
    def approximate_RV(self) -> Float32 | None:
        """Approximate logits from a scan; None if the backend has no scan."""
        ops, head = self._model.ops, self._model.weights.head
        approximate_RV = ops.scan(self._hidden_TD, self.row_R, head)
        return None if approximate_RV is None else ops.to_numpy(approximate_RV)

    @cached_property
    def exact_RV(self) -> Float32:
        """Exact logits of all rows."""
        ops, head = self._model.ops, self._model.weights.head
        exact_RV: Float32 = ops.to_numpy(ops.unembed(self._hidden_TD, self.row_R, head))
        return exact_RV

    def exact_ids(self, row: int, id_N: Int32) -> Float32:
        """Compute exact, bit-identical logits of some ids for one token of the step."""
        ops, head = self._model.ops, self._model.weights.head
        exact_N: Float32 = ops.to_numpy(ops.unembed_ids(self._hidden_TD, row, id_N, head))
        return exact_N


class RowLogits:
    """Logits of one row."""

    def __init__(self, step: StepLogits, row: int) -> None:
        self._step = step
        self._row = row

    @property
    def size(self) -> int:
        """Size of the vocabulary."""
        return self._step.size

    @property
    def approximate_V(self) -> Float32 | None:
        """Approximate logits, or None; one scan serves all rows of the step."""
        approximate_RV = self._step.approximate_RV
        return None if approximate_RV is None else approximate_RV[self._row]

    @cached_property
    def exact_V(self) -> Float32:
        """Exact logits; of this row alone if the others may stay approximate."""
        if self._step.approximate_RV is None:
            whole_V: Float32 = self._step.exact_RV[self._row]
            return whole_V
        parts = np.array_split(np.arange(self.size, dtype=np.int32), NUM_PARTS)
        return np.concatenate([self.exact_ids(part) for part in parts])

    def exact_ids(self, id_N: Int32) -> Float32:
        """Compute the exact logits of these ids."""
        return self._step.exact_ids(int(self._step.row_R[self._row]), id_N)


def compute_logits(model: Transformer[Any], ids: Sequence[int], chunk: int = 256) -> Float32:
    """Compute logits after each token of a text, in chunks, for research and checks.

    Args:
        model: of any backend.
        ids: token ids, in range.
        chunk: tokens per step.

    Returns:
        float32 [T, V].
    """
    config = model.config
    pages = range(-(-len(ids) // PAGE_TOKENS))
    cache: KvCache[Any] = KvCache(config, model.ops, num_pages=len(pages), num_windows=1)
    logits_TV = np.empty((len(ids), config.vocab_size), np.float32)
    for past in range(0, len(ids), chunk):
        one = SequenceSlice(
            ids=ids[past : past + chunk], past=past, pages=pages, window_pages=cache.window_pages(0)
        )
        batch = ForwardBatch.from_slices([one], range(len(one.ids)), window=config.sliding_window)
        logits_TV[past : past + len(one.ids)] = model.ops.to_numpy(model.forward(batch, cache))
    return logits_TV
