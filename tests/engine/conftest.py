"""A tiny random model of the real architecture, on the judge."""

import pytest

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.engine.engine import Engine
from ossia.engine.options import EngineOptions, resolve
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.reference import ReferenceOps

PAGE = 8


@pytest.fixture(scope="session")
def model():
    config, ops = SHAPES["tiny"], ReferenceOps()
    return Transformer(config, ops, prepare(config, ops, random_tensors(config, 0)))


@pytest.fixture
def engine_of(model):
    """Make an engine with small pages, so that every border is crossed."""

    def make(**options):
        plan = resolve(EngineOptions(**{"context_length": 96, **options}), model.config, PAGE)
        return Engine(model, plan, PAGE)

    return make
