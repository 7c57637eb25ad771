import dataclasses

import ml_dtypes
import numpy as np
import pytest
import torch

from ossia.checkpoint import open_checkpoint
from ossia.model.forward_batch import ForwardBatch
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.mxfp4 import Mxfp4, pack, unpack
from ossia.ops.reference import ReferenceOps
from ossia.train.batches import collate, draw_examples
from ossia.train.export import write_packed
from ossia.train.network import is_expert_matrix, nano_config, new_parameters, run

SHAPE = nano_config(vocab_size=640, hidden=64, layers=2, experts=8, inner=32)


@pytest.fixture(scope="module")
def parameters():
    return {name: value.detach() * 4 for name, value in new_parameters(SHAPE, 1, "cpu").items()}


@pytest.fixture
def checkpoint(parameters, tokenizer_file, tmp_path):
    write_packed(tmp_path / "packed", SHAPE, parameters, tokenizer_file)
    return open_checkpoint(tmp_path / "packed")


def test_the_folder_is_a_checkpoint_like_any_other(checkpoint, tokenizer_file):
    assert checkpoint.config == SHAPE
    assert checkpoint.layout == "hugging-face"
    assert checkpoint.tokenizer_path.read_bytes() == tokenizer_file.read_bytes()


def test_packing_what_was_unpacked_gives_the_same_bytes(checkpoint):
    for layer in range(SHAPE.num_hidden_layers):
        for part in ("gate_up", "down"):
            stem = f"layers.{layer}.{part}"
            packed = Mxfp4(*(checkpoint.tensors[f"{stem}_{each}"] for each in ("blocks", "scales")))
            again = pack(unpack(packed))
            assert np.array_equal(again.blocks, packed.blocks)
            assert np.array_equal(again.scales, packed.scales)


def test_writing_again_replaces_with_the_same_bytes(checkpoint, parameters, tokenizer_file):
    files = [checkpoint.folder / name for name in ("config.json", "model.safetensors")]
    before = [file.read_bytes() for file in files]
    write_packed(checkpoint.folder, SHAPE, parameters, tokenizer_file)
    assert [file.read_bytes() for file in files] == before


def test_the_trainer_and_the_judge_agree_on_the_packed_model(checkpoint, parameters, tokenizer):
    rounded = {  # the experts stay as trained: rounding them is part of the trainer's own pass
        name: value
        if is_expert_matrix(name)
        else torch.from_numpy(value.numpy().astype(ml_dtypes.bfloat16).astype(np.float32))
        for name, value in parameters.items()
    }
    examples = draw_examples(tokenizer, seed=0, number=0, examples=6, split="train")
    batch = collate(examples, window=64)
    groups = batch.step._replace(row_R=np.arange(len(batch.step.id_T), dtype=np.int32))
    whole = dataclasses.replace(
        batch,
        step=groups,
        target_R=torch.zeros(len(batch.step.id_T), dtype=torch.long),
        weight_R=torch.ones(len(batch.step.id_T)),
    )
    ours_TV = run(SHAPE, rounded, whole).logits_RV.numpy()

    first_Q, count_Q = batch.step.full.first_Q, batch.step.full.count_Q
    prefix = batch.step.id_T[first_Q[0] : first_Q[0] + count_Q[0]]
    rows = slice(first_Q[1], first_Q[1] + count_Q[1])
    step = ForwardBatch.without_cache([[*prefix, *batch.step.id_T[rows]]], window=64)
    judge = ReferenceOps()
    network = Transformer(SHAPE, judge, prepare(SHAPE, judge, checkpoint.tensors))
    law_TV = network.forward(step, None)[count_Q[0] :]
    # float32 sums in another order, through two layers
    np.testing.assert_allclose(ours_TV[rows], law_TV, atol=2e-4)
