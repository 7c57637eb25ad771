"""The file for llama.cpp, read back by the package that defines the format."""

import numpy as np
import pytest
from gguf import GGUFReader, quants

from benchmarks.gguf_checkpoint import write_gguf
from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.ops.mxfp4 import Mxfp4, unpack

CONFIG = SHAPES["tiny"]


@pytest.fixture(scope="module")
def tensors():
    return dict(random_tensors(CONFIG, 0))


@pytest.fixture(scope="module")
def written(tensors, tmp_path_factory):
    """Both formats: every tensor of the file by its name, widened to float32."""
    folder = tmp_path_factory.mktemp("gguf")

    def read(form):
        write_gguf(folder / form, CONFIG, tensors, form)
        return {
            each.name: quants.dequantize(each.data, each.tensor_type)
            for each in GGUFReader(folder / form).tensors
        }

    return {form: read(form) for form in ("Q8_0", "F32")}


@pytest.mark.parametrize("form", ["Q8_0", "F32"])
def test_experts_keep_every_value(written, tensors, form):
    for layer in range(CONFIG.num_hidden_layers):
        here = f"layers.{layer}."
        gate_up, down = (
            unpack(Mxfp4(tensors[f"{here}{name}_blocks"], tensors[f"{here}{name}_scales"]))
            for name in ("gate_up", "down")
        )
        found = written[form]
        np.testing.assert_array_equal(found[f"blk.{layer}.ffn_gate_exps.weight"], gate_up[:, ::2])
        np.testing.assert_array_equal(found[f"blk.{layer}.ffn_up_exps.weight"], gate_up[:, 1::2])
        np.testing.assert_array_equal(found[f"blk.{layer}.ffn_down_exps.weight"], down)


def test_the_exact_format_keeps_every_weight(written, tensors):
    found, here = written["F32"], "layers.1."
    for name, ours in {
        "token_embd.weight": "embedding",
        "blk.1.attn_norm.weight": f"{here}attention_norm",
        "blk.1.attn_q.weight": f"{here}q_weight",
        "blk.1.attn_k.bias": f"{here}k_bias",
        "blk.1.attn_sinks.weight": f"{here}sinks",
        "blk.1.attn_output.weight": f"{here}out_weight",
        "blk.1.post_attention_norm.weight": f"{here}expert_norm",
        "blk.1.ffn_gate_inp.weight": f"{here}router_weight",
        "output_norm.weight": "final_norm",
        "output.weight": "head",
    }.items():
        np.testing.assert_array_equal(found[name], tensors[ours].astype(np.float32))
    up_bias = tensors[f"{here}gate_up_bias"][:, 1::2].astype(np.float32)
    np.testing.assert_array_equal(found["blk.1.ffn_up_exps.bias"], up_bias)


def test_the_published_format_rounds_what_is_not_an_expert_to_eight_bits(written, tensors):
    exact = tensors["layers.0.q_weight"].astype(np.float32)
    error = np.abs(written["Q8_0"]["blk.0.attn_q.weight"] - exact)
    assert 0 < error.max() < np.abs(exact).max() / 200  # half a step of 127
    for name in ("blk.0.ffn_gate_inp.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.bias"):
        np.testing.assert_array_equal(written["Q8_0"][name], written["F32"][name])
