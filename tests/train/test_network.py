import numpy as np
import pytest
import torch

from ossia.train.batches import Batch
from ossia.train.network import is_expert_matrix, nano_config, new_parameters, run
from ossia.train.shared_prefix import PrefixGroup, prefix_group_batch

CONFIG = nano_config(vocab_size=200, hidden=64, layers=2, experts=4, inner=32)
WINDOW = CONFIG.sliding_window
NAMES = [name for name in new_parameters(CONFIG, 0, "cpu") if not is_expert_matrix(name)]
STEP = 5e-3


def parameters(config=CONFIG):
    """Larger than fresh ones, and no zeros, so that all is felt; but smooth over a step."""
    source = torch.Generator().manual_seed(1)
    made = new_parameters(config, 0, "cpu")
    with torch.no_grad():
        for value in made.values():
            value.mul_(2).add_(0.02 * torch.randn(value.shape, generator=source))
    return made


def batch(ids, rows):
    """One sequence behind a prefix of two; the given rows predict the token behind them."""
    step = prefix_group_batch([PrefixGroup(prefix=[1, 2], sequences=[ids])], window=WINDOW)
    row_R = np.array(rows, np.int32)
    return Batch(
        step=step._replace(row_R=row_R),
        target_R=torch.from_numpy(step.id_T[row_R].astype(np.int64)),
        weight_R=torch.ones(len(rows)),
        example_R=np.zeros(len(rows), np.int64),
        efforts=("low",),
    )


@pytest.fixture(scope="module")
def long_batch():
    ids = np.random.default_rng(0).integers(3, 200, 150).tolist()  # over two windows, three tiles
    return batch(ids, range(2, 151))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope_of_the_loss(name, long_batch):
    made = parameters()
    run(CONFIG, made, long_batch).answer.backward()
    gradient = made[name].grad
    size = gradient.norm()
    assert size > 0
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            moved = {**made, name: made[name] + sign * STEP * gradient / size}
            losses.append(run(CONFIG, moved, long_batch).answer.double())
    slope = (losses[0] - losses[1]) / (2 * STEP)
    # float32 losses near 6 differ by some 1e-6 where nothing changes, so slopes by some 2e-4
    assert slope.item() == pytest.approx(size.item(), rel=0.05, abs=5e-4)


def test_a_windowed_layer_feels_its_window_and_nothing_older():
    config = nano_config(vocab_size=200, hidden=64, layers=1, experts=4, inner=32)
    assert config.layer_types == ("sliding_attention",)
    made = parameters(config)
    ids = list(range(3, 103))  # every token another one: its embedding tells who was looked at
    run(config, made, batch(ids, [101])).answer.backward()
    felt = made["embedding"].grad.abs().sum(dim=1) > 0
    assert felt.nonzero().flatten().tolist() == list(range(103 - WINDOW, 103))
