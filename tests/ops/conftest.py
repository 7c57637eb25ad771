"""Weights and activations of any size, and every backend that can run here."""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ossia.ops import Ops, select_ops
from ossia.ops.api import AttentionMetadata, pages_per_window
from ossia.ops.cpu import CpuOps, isas
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.select import BACKENDS, unavailable_reason
from ossia.ops.weights import ExpertWeights, QkvWeights, Rope, RouterWeights

BF16 = ml_dtypes.bfloat16
EPS = 1e-5


@pytest.fixture(
    params=[name for name in BACKENDS if name not in ("reference", "cpu")]
    + [f"cpu-{isa}" for isa in isas()]
)
def backend(request: pytest.FixtureRequest) -> Ops[Any]:
    """Each fast backend in turn, the C++ one with every instruction set this CPU has."""
    name, _, isa = request.param.partition("-")
    if reason := unavailable_reason(name):
        pytest.skip(reason)
    return CpuOps(2, isa, alone_below=0) if name == "cpu" else select_ops(name)


@pytest.fixture
def both(backend: Ops[Any], judge: Ops[Any]) -> tuple[Ops[Any], Ops[Any]]:
    """The backend, and the judge of what it says."""
    return backend, judge


@pytest.fixture(params=isas())
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set of the C++ kernels that this CPU runs."""
    return request.param


def attention_metadata(counts, window, past=None, page_QP=None):
    """Attention metadata of sequences that stand end to end in a step."""
    count_Q = np.array(counts, np.int32)
    return AttentionMetadata(
        first_Q=(np.cumsum(count_Q) - count_Q).astype(np.int32),
        count_Q=count_Q,
        past_Q=np.zeros_like(count_Q) if past is None else np.array(past, np.int32),
        page_QP=np.array([[]] * len(counts) if page_QP is None else page_QP, np.int32),
        window=window,
    )


@dataclass(frozen=True)
class Attention:
    """Sequences of equal length, end to end, that look back at themselves."""

    query_TKGC: Any
    key_TKC: Any
    value_TKC: Any
    sink_H: Any
    window: int

    @property
    def activations(self):
        return self.query_TKGC, self.key_TKC, self.value_TKC

    def alone(self, ops, counts):
        """All sequences in one step, without pages."""
        sinks = ops.prepare_sinks(self.sink_H, self.key_TKC.shape[1])
        mine = [ops.from_numpy(each.copy()) for each in self.activations]
        return ops.to_numpy(ops.attend(*mine, attention_metadata(counts, self.window), None, sinks))

    def in_steps(self, ops, chunks, page_tokens):
        """Sequence q in steps of chunks[q] tokens, then the rest, on scattered pages or windows."""
        sequences, tokens = len(chunks), len(self.query_TKGC)
        each = tokens // sequences
        need = min(pages_per_window(self.window, page_tokens), -(-each // page_tokens))
        pages = ops.new_pages(need * sequences, page_tokens, *self.key_TKC.shape[1:])
        page_QP = np.random.default_rng(5).permutation(need * sequences).reshape(sequences, need)
        sinks = ops.prepare_sinks(self.sink_H, self.key_TKC.shape[1])
        out_TE = np.zeros((tokens, self.query_TKGC[0].size), np.float32)
        past, turns = np.zeros(sequences, int), [iter(chunk) for chunk in chunks]
        while past.min() < each:
            counts = np.minimum([next(turn, each) for turn in turns], each - past)
            begin = past + each * np.arange(sequences)
            now = np.concatenate([np.arange(b, b + n) for b, n in zip(begin, counts, strict=True)])
            step = attention_metadata(counts, self.window, past, page_QP)
            mine = [ops.from_numpy(one[now]) for one in self.activations]
            out_TE[now] = ops.to_numpy(ops.attend(*mine, step, pages, sinks))
            past += counts
        return out_TE


@dataclass(frozen=True)
class Make:
    """Random weights and activations, of a size that keeps activations near 1."""

    random: np.random.Generator

    def normal(self, *shape):
        return self.random.standard_normal(shape, dtype=np.float32)

    def weight(self, *shape, dtype=BF16):
        return (self.normal(*shape) / np.sqrt(shape[-1])).astype(dtype)

    def rope(self, channels):
        half = channels // 2
        frequency = (150_000.0 ** (-np.arange(half) / half)).astype(np.float32)
        return Rope(inverse_frequency=frequency, scale=1.25)

    def qkv(self, width, kv_heads, groups, channels, dtype=BF16):
        kv_width = kv_heads * channels
        return QkvWeights(
            norm_D=self.random.uniform(0.5, 2, width).astype(dtype),
            query_ED=self.weight(kv_width * groups, width, dtype=dtype),
            query_bias=self.normal(kv_width * groups).astype(dtype),
            key_weight=self.weight(kv_width, width, dtype=dtype),
            key_bias=self.normal(kv_width).astype(dtype),
            value_weight=self.weight(kv_width, width, dtype=dtype),
            value_bias=self.normal(kv_width).astype(dtype),
            num_kv_heads=kv_heads,
            head_dim=channels,
            rope=self.rope(channels),
            eps=EPS,
        )

    def router(self, width, experts, active, dtype=BF16):
        return RouterWeights(
            norm_D=self.random.uniform(0.5, 2, width).astype(dtype),
            router_ND=self.weight(experts, width, dtype=dtype),
            bias_N=self.normal(experts).astype(dtype),
            num_active=active,
            eps=EPS,
        )

    def packed(self, stack, rows, columns):
        """Random MXFP4 codes, scaled to about 1/sqrt(columns)."""
        blocks = self.random.integers(0, 256, (stack, rows, columns // 32, 16), np.uint8)
        scale = 125 - round(np.log2(columns) / 2)
        scales = self.random.integers(scale - 1, scale + 2, blocks.shape[:3], np.uint8)
        return Mxfp4(blocks, scales)

    def experts(self, experts, width, inner, dtype=None):
        """Packed without a dtype; otherwise dense, transposed views as in a dense checkpoint."""
        bias = dtype or BF16

        def stored(rows, columns):
            if dtype is None:
                return self.packed(experts, rows, columns)
            return self.weight(experts, columns, rows, dtype=dtype).swapaxes(1, 2)

        return ExpertWeights(
            gate_up_NUD=stored(2 * inner, width),
            gate_up_bias_NU=self.normal(experts, 2 * inner).astype(bias),
            down_NDF=stored(width, inner),
            down_bias_ND=self.normal(experts, width).astype(bias),
            limit=7.0,
            alpha=1.702,
        )

    def attention(self, tokens, heads, window):
        """`heads`: key/value heads, query heads for each, channels."""
        kv_heads, groups, channels = heads
        return Attention(
            self.normal(tokens, kv_heads, groups, channels),
            self.normal(tokens, kv_heads, channels),
            self.normal(tokens, kv_heads, channels),
            self.normal(kv_heads * groups),
            window,
        )

    def routes(self, tokens, experts, active):
        """Chosen experts, each once a token, and weights that sum to 1."""
        chosen = self.random.permuted(np.tile(np.arange(experts), (tokens, 1)), axis=1)
        weight = self.random.dirichlet(np.ones(active), tokens)
        return chosen[:, :active].astype(np.int32), weight.astype(np.float32)


@pytest.fixture
def make() -> Make:
    return Make(np.random.default_rng(0))


@pytest.fixture
def metadata_of():
    return attention_metadata


@pytest.fixture
def assert_near():
    """Equal up to float32 sums in another order: 1e-6 is usual, 1e-5 the bound."""

    def check(ours, law):
        assert ours.dtype == law.dtype
        assert ours.shape == law.shape
        if law.size:
            size = np.sqrt(np.mean(np.square(law, dtype=np.float64)))
            error = np.sqrt(np.mean(np.square(ours.astype(np.float64) - law)))
            assert error <= 1e-5 * size
            np.testing.assert_allclose(ours, law, rtol=1e-4, atol=1e-4 * size)

    return check


@pytest.fixture
def run():
    """Calls an operation of a backend with numpy arrays, and brings the result out as such."""

    def call(ops, name, *arguments):
        def inside(argument):
            if type(argument) is tuple or not isinstance(argument, np.ndarray):
                return argument
            is_activation = argument.dtype == np.float32
            return ops.from_numpy(argument.copy()) if is_activation else argument

        result = getattr(ops, name)(*map(inside, arguments))
        if isinstance(result, tuple):
            return tuple(ops.to_numpy(each) for each in result)
        return ops.to_numpy(result)

    return call
