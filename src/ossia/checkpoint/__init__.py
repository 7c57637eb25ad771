"""Reads, validates and writes gpt-oss checkpoints."""

from ossia.checkpoint import counts
from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.export import write_checkpoint
from ossia.checkpoint.folder import Checkpoint, open_checkpoint, verify_values
from ossia.checkpoint.layouts import LAYOUTS, Layout, our_shapes
from ossia.checkpoint.tensors import Tensors, check_finite, check_scales

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Layout",
    "ModelConfig",
    "Tensors",
    "check_finite",
    "check_scales",
    "counts",
    "open_checkpoint",
    "our_shapes",
    "verify_values",
    "write_checkpoint",
]
