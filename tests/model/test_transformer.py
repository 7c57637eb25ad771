import dataclasses

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import KvCache
from ossia.model.logits import compute_logits
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare

CONFIG = dataclasses.replace(SHAPES["tiny"], sliding_window=16)
LENGTH = 70
ROUNDING = {"rtol": 0, "atol": 2e-4}  # logits near 10, float32 sums in another order


def model_of(ops, config=CONFIG):
    return Transformer(config, ops, prepare(config, ops, random_tensors(config, 0)))


def ids(seed, length=LENGTH):
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, length).tolist()


def whole(model, text):
    batch = ForwardBatch.without_cache([text], window=model.config.sliding_window)
    return model.ops.to_numpy(model.forward(batch, None))


def test_every_backend_agrees_with_the_judge(backend, judge):
    np.testing.assert_allclose(
        whole(model_of(backend), ids(0)), whole(model_of(judge), ids(0)), **ROUNDING
    )


@pytest.mark.parametrize("chunk", [1, 3, 16, 17, 69])
def test_chunks_say_what_the_whole_says(backend, chunk):
    model = model_of(backend)
    np.testing.assert_allclose(
        compute_logits(model, ids(1), chunk=chunk), whole(model, ids(1)), **ROUNDING
    )


def test_sequences_in_one_step_do_not_see_each_other(backend):
    model = model_of(backend)
    texts = [ids(2, 5), ids(3, 40), ids(4, 1)]
    batch = ForwardBatch.without_cache(texts, window=CONFIG.sliding_window)
    together = model.ops.to_numpy(model.forward(batch, None))
    apart = np.concatenate([whole(model, text) for text in texts])
    np.testing.assert_allclose(together, apart, **ROUNDING)


def test_sequences_go_on_side_by_side_on_scattered_pages(backend):
    model = model_of(backend)
    cache = KvCache(CONFIG, backend, num_pages=20, num_windows=2, page_tokens=8)
    texts, pages = [ids(5), ids(6)], [list(range(19, 10, -1)), list(range(9))]
    found = [[], []]
    for past in range(0, LENGTH, 7):
        slices = [
            SequenceSlice(
                ids=text[past : past + 7],
                past=past,
                pages=owned,
                window_pages=cache.window_pages(i),
            )
            for i, (text, owned) in enumerate(zip(texts, pages, strict=True))
        ]
        batch = ForwardBatch.from_slices(slices, range(14), window=CONFIG.sliding_window)
        logits_RV = backend.to_numpy(model.forward(batch, cache))
        found[0].append(logits_RV[:7])
        found[1].append(logits_RV[7:])
    for text, rows in zip(texts, found, strict=True):
        np.testing.assert_allclose(np.concatenate(rows), whole(model, text), **ROUNDING)


def test_a_windowed_layer_stores_no_more_than_a_window_in_whole_pages():
    cache = KvCache(SHAPES["20b"], Counting(), num_pages=100, num_windows=2)
    windowed, full = cache.layers[0], cache.layers[1]
    assert windowed == 2 * 3 * 64  # 128 tokens lie in at most three pages of 64
    assert full == 100 * 64


class Counting:
    """Makes no pages; says how many tokens they would hold."""

    def new_pages(self, num_pages, page_tokens, num_kv_heads, head_dim):
        return num_pages * page_tokens


def test_only_the_wanted_rows_are_scored(backend):
    model = model_of(backend)
    text = ids(7, 9)
    batch = ForwardBatch.from_slices(
        [SequenceSlice(ids=text)], [8, 2], window=CONFIG.sliding_window
    )
    rows = model.ops.to_numpy(model.forward(batch, None))
    np.testing.assert_allclose(rows, whole(model, text)[[8, 2]], **ROUNDING)
