import dataclasses

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES
from ossia.model.kv_cache import KvCache
from ossia.ops.reference import ReferenceOps

CONFIG = dataclasses.replace(
    SHAPES["tiny"],
    num_hidden_layers=3,
    layer_types=("sliding_attention", "full_attention", "sliding_attention"),
)


@pytest.fixture
def cache():
    """Every place of a pool holds the number of its page."""
    cache = KvCache(CONFIG, ReferenceOps(), num_pages=5, num_windows=2, page_tokens=8)
    for pages in cache.layers:
        for array in (pages.key_PBKC, pages.value_PBKC):
            array[:] = np.arange(len(array))[:, None, None, None]
    return cache


def contents(cache):
    """What the pages of each layer hold."""
    return [
        [int(each) for each in array[:, 0, 0, 0]]
        for pages in cache.layers
        for array in (pages.key_PBKC, pages.value_PBKC)
    ]


def test_a_ring_is_as_many_pages_as_a_window_and_a_page_need(cache):
    assert cache.pages_per_window == 3
    assert [*cache.window_pages(1)] == [3, 4, 5]


def test_a_page_is_copied_in_full_layers_only(cache):
    cache.copy_page(4, 1)
    windowed, full = [*range(6)], [0, 4, 2, 3, 4]
    assert contents(cache) == [windowed, windowed, full, full, windowed, windowed]


def test_a_ring_is_copied_in_windowed_layers_only(cache):
    cache.copy_window(1, 0)
    windowed, full = [3, 4, 5, 3, 4, 5], [*range(5)]
    assert contents(cache) == [windowed, windowed, full, full, windowed, windowed]
