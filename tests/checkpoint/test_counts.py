"""The formulas give the published figures, and agree with the list of tensors."""

import dataclasses
import math

import pytest

from benchmarks.random_checkpoint import SHAPES
from ossia.checkpoint import LAYOUTS, counts
from ossia.checkpoint.layouts import BYTES, is_packed, stored_tensors

PUBLISHED = {
    "20b": {
        "parameters": 20_914_757_184,
        "active_parameters": 3_608_307_264,
        "checkpoint_bytes": 13_761_264_768,
        "experts_bytes": 10_165_616_640,
        "decoded_token_bytes": 3_708_077_568,
        "expert_bytes": 13_236_480,
    },
    "120b": {
        "parameters": 116_829_156_672,
        "active_parameters": 5_132_849_472,
        "checkpoint_bytes": 65_248_815_744,
        "experts_bytes": 60_993_699_840,
        "decoded_token_bytes": 5_002_896_384,
        "expert_bytes": 13_236_480,
    },
}
FIGURES = [(shape, name, value) for shape, f in PUBLISHED.items() for name, value in f.items()]


@pytest.mark.parametrize(("shape", "figure", "value"), FIGURES)
def test_the_published_figures_come_out_exactly(shape, figure, value):
    assert getattr(counts, figure)(SHAPES[shape]) == value


@pytest.mark.parametrize(
    ("shape", "num_bytes"), [("20b", 41_829_514_368), ("120b", 233_658_313_344)]
)
def test_all_in_bfloat16_weighs_what_is_published(shape, num_bytes):
    assert counts.checkpoint_bytes(SHAPES[shape], packed=False) == num_bytes


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", ["20b", "120b", "tiny"])
def test_the_formulas_agree_with_the_tensors_of_every_layout(shape, layout):
    config = dataclasses.replace(SHAPES[shape])
    num_bytes = sum(
        math.prod(stored.shape) * (1 if stored.dtypes == BYTES else 2)
        for stored in stored_tensors(config, layout)
    )
    assert num_bytes == counts.checkpoint_bytes(config, packed=is_packed(layout))
