"""Our logits beside transformers', on random checkpoints; more of it: benchmarks/parity.py."""

import pytest

from benchmarks.parity import (
    LAYOUTS,
    distance,
    ours,
    published,
    published_logits,
    random_ids,
    write_random,
)
from ossia.model.logits import compute_logits
from ossia.ops.select import BACKENDS, OpsOptions, unavailable_reason

BOUND = 1e-4  # relative L2; float32 in other orders gives 1e-6
EXACT = OpsOptions(weights="bf16")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("parity")
    return {layout: write_random(parent / layout, layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def judges(folders):
    dense, packed = published(folders["dense"]), published(folders["hugging-face"])
    return {"dense": dense, "hugging-face": packed, "original": packed}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_agree_with_transformers(folders, judges, layout, name):
    if reason := unavailable_reason(name):
        pytest.skip(reason)
    model = ours(folders[layout], name, EXACT)
    for count in (1, 128, 129, 300):
        ids = random_ids(count, model.config.vocab_size)
        expected = published_logits(judges[layout], ids)
        assert distance(compute_logits(model, ids, chunk=90), expected) < BOUND


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_logits_agree_beyond_the_original_context(folders, judges):
    model = ours(folders["hugging-face"], "cpu", EXACT)
    ids = random_ids(4200, model.config.vocab_size)
    expected = published_logits(judges["hugging-face"], ids)
    assert distance(compute_logits(model, ids, chunk=512), expected) < BOUND


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("weights", "bound"), [("int8", 0.1), ("lean", 0.2)])
def test_rounded_weights_stay_near(  # a router's close call may go the other way
    folders, judges, layout, weights, bound
):
    model = ours(folders[layout], "cpu", OpsOptions(weights=weights))
    for count in (1, 129, 300):
        ids = random_ids(count, model.config.vocab_size)
        expected = published_logits(judges[layout], ids)
        assert 0 < distance(compute_logits(model, ids, chunk=90), expected) < bound
