"""Logits of every position of one text, in chunks: for research and checks, not for serving."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import PAGE_TOKENS, KvCache
from ossia.model.transformer import Transformer


def score(model: Transformer[Any], ids: Sequence[int], chunk: int = 256) -> NDArray[np.float32]:
    """Score the next token after each of `ids`.

    Args:
        model: any backend's.
        ids: token ids, in range.
        chunk: tokens a step.

    Returns:
        float32 [T, V].
    """
    config = model.config
    pages = range(-(-len(ids) // PAGE_TOKENS))
    cache: KvCache[Any] = KvCache(config, model.ops, num_pages=len(pages), num_rings=1)
    logits_TV = np.empty((len(ids), config.vocab_size), np.float32)
    for past in range(0, len(ids), chunk):
        one = SequenceSlice(
            ids=ids[past : past + chunk], past=past, pages=pages, ring=cache.ring(0)
        )
        batch = ForwardBatch.from_slices([one], range(len(one.ids)), window=config.sliding_window)
        logits_TV[past : past + len(one.ids)] = model.ops.to_numpy(model.forward(batch, cache))
    return logits_TV
