"""A small model with no two sizes alike, and folders that hold it."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import Layout, ModelConfig, write_checkpoint


@pytest.fixture
def config() -> ModelConfig:
    """Two layers, three experts; D 64, F 32, heads 6 over 2, C 10, V 131."""
    return dataclasses.replace(
        SHAPES["tiny"],
        num_local_experts=3,
        num_experts_per_tok=2,
        vocab_size=131,
        intermediate_size=32,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=10,
    )


@pytest.fixture
def save(tmp_path, config):
    """Write the small model in a layout; returns the folder."""

    def write(layout: Layout, *, shards: int = 1, **other: object) -> Path:
        folder = tmp_path / layout
        tensors = random_tensors(config, 7, packed=layout != "dense")
        write_checkpoint(folder, config, dict(tensors) | other, layout, shards=shards)
        return folder

    return write
