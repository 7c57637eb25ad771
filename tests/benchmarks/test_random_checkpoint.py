"""The writer of random checkpoints: any size, always the same, and fit to compute with."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.random_checkpoint import SHAPES, main, random_tensors
from ossia.checkpoint import LAYOUTS, counts, open_checkpoint, our_shapes, verify_values


@pytest.mark.parametrize("packed", [True, False])
def test_the_same_seed_gives_the_same_bytes(packed):
    one, two, other = (random_tensors(SHAPES["tiny"], seed, packed=packed) for seed in (1, 1, 2))
    assert len(one) == len(our_shapes(SHAPES["tiny"], packed=packed))
    for name in one:
        assert (one[name] == two[name]).all()
        assert (one[name] != other[name]).any()


def test_a_layer_does_not_depend_on_how_many_follow():
    more = dataclasses.replace(SHAPES["tiny"], num_hidden_layers=1, layer_types=("full_attention",))
    name = "layers.0.gate_up_blocks"
    assert (random_tensors(more, 1)[name] == random_tensors(SHAPES["tiny"], 1)[name]).all()


def test_large_tensors_are_as_normal_as_small_ones():
    wide = dataclasses.replace(SHAPES["tiny"], vocab_size=100_000)
    embedding = random_tensors(wide, 1)["embedding"].astype(np.float32)
    assert abs(embedding.std() - 1) < 0.01  # 6.4 million numbers out of a pool of 8
    assert abs(embedding.mean()) < 0.01
    assert len(np.unique(embedding, axis=0)) == len(embedding)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_writes_a_checkpoint_that_opens(layout, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "made"
    wishes = ["--layout", layout, "--out", str(folder), "--layers", "3", "--vocab", "77"]
    monkeypatch.setattr(sys, "argv", ["random_checkpoint", *wishes])
    assert main() == 0
    checkpoint = open_checkpoint(folder)
    verify_values(checkpoint)
    assert checkpoint.layout == layout
    assert (checkpoint.config.num_hidden_layers, checkpoint.config.vocab_size) == (3, 77)
    printed = json.loads(capsys.readouterr().out)
    assert printed["tensor_bytes"] == checkpoint.total_bytes
    assert printed["tensor_bytes"] == counts.checkpoint_bytes(
        checkpoint.config, packed=layout != "dense"
    )


def test_the_command_says_in_one_line_what_is_in_its_way(tmp_path):
    (tmp_path / "config.json").write_bytes(b"{}")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.random_checkpoint", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1


def test_a_shape_that_cannot_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--out", str(tmp_path), "--vocab", "-1"])
    assert main() == 1
