"""The gradients of the torch backend, against differences of its own float64 results."""

import numpy as np
import pytest
import torch

from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.layouts import our_shapes
from ossia.model.forward_batch import ForwardBatch
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.api import AttentionMetadata
from ossia.ops.torch import TorchOps

WINDOW = 3
TINY = ModelConfig(
    num_hidden_layers=2,
    num_local_experts=4,
    num_experts_per_tok=2,
    hidden_size=32,
    intermediate_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    vocab_size=11,
    sliding_window=WINDOW,
    layer_types=("sliding_attention", "full_attention"),
    max_position_embeddings=64,
    rope_theta=150_000.0,
    rope_factor=4.0,
    rope_beta_fast=32.0,
    rope_beta_slow=1.0,
    rope_original_max_position_embeddings=16,
    rope_truncate=False,
    rms_norm_eps=1e-5,
    swiglu_limit=7.0,
    swiglu_alpha=1.702,
)
BATCH = ForwardBatch.without_cache(
    [[1, 2, 3, 4, 5, 6, 7], [8, 9, 10]], window=WINDOW
)  # longer than the window
NAMES = sorted(our_shapes(TINY, packed=False))


def parameters():
    source = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=source, dtype=torch.float64) * 0.4
        for name, shape in our_shapes(TINY, packed=False).items()
    }


def loss(tensors):
    ops = TorchOps()
    logits_RV = Transformer(TINY, ops, prepare(TINY, ops, tensors)).forward(BATCH, None)
    weight_RV = torch.linspace(-1, 1, logits_RV.numel(), dtype=torch.float64)
    return (logits_RV.softmax(dim=1).flatten() * weight_RV).sum()


@pytest.fixture(scope="module")
def gradients():
    tensors = {name: value.requires_grad_() for name, value in parameters().items()}
    loss(tensors).backward()
    return {name: value.grad for name, value in tensors.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_is_the_slope(gradients, name):
    tensors = parameters()
    along = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(1)).double()
    step = 1e-6

    with torch.no_grad():
        ahead, behind = (
            loss({**tensors, name: tensors[name] + sign * step * along}) for sign in (1, -1)
        )

    slope = float((ahead - behind) / (2 * step))
    derivative = float((gradients[name] * along).sum())
    assert derivative != 0
    # the difference of two float64 results, each exact to 1e-16, over 2e-6
    assert derivative == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_window_ends_where_it_should():
    random = np.random.default_rng(0)
    tokens, query = 6, 5
    query_TKGC, key_TKC, value_TKC = (
        torch.from_numpy(random.standard_normal((tokens, 1, *more, 4)).astype(np.float32))
        for more in ((2,), (), ())
    )
    value_TKC.requires_grad_()
    metadata = AttentionMetadata(
        first_Q=np.array([0], np.int32),
        count_Q=np.array([tokens], np.int32),
        past_Q=np.array([0], np.int32),
        page_QP=np.zeros((1, 0), np.int32),
        window=WINDOW,
    )
    ops = TorchOps()
    sinks = ops.prepare_sinks(torch.zeros(2), num_kv_heads=1)

    ops.attend(query_TKGC, key_TKC, value_TKC, metadata, None, sinks)[query].sum().backward()

    seen = value_TKC.grad.abs().sum(dim=(1, 2)) > 0
    assert seen.tolist() == [False, False, False, True, True, True]


def test_nothing_that_came_in_is_changed():
    tensors = parameters()
    before = {name: value.clone() for name, value in tensors.items()}
    loss(tensors)
    assert all(torch.equal(tensors[name], before[name]) for name in NAMES)
