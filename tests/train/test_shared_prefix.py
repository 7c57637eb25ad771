import numpy as np
import pytest
import torch

from ossia.model.forward_batch import ForwardBatch
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.reference import ReferenceOps
from ossia.train.network import nano_config, new_parameters
from ossia.train.shared_prefix import PrefixGroup, TrainingOps, prefix_group_batch

CONFIG = nano_config(vocab_size=64, hidden=64, layers=2, experts=4, inner=32)


def weights():
    return {name: value.detach() * 3 for name, value in new_parameters(CONFIG, 3, "cpu").items()}


def ids(random, count):
    return random.integers(0, CONFIG.vocab_size, count).tolist()


def groups(random):
    # 40 sequences: more than are computed side by side; 150 tokens: three tiles, over two windows
    return [
        PrefixGroup(prefix=ids(random, 70), sequences=[ids(random, 1 + n % 9) for n in range(37)]),
        PrefixGroup(
            prefix=ids(random, 5), sequences=[ids(random, 150), ids(random, 2), ids(random, 1)]
        ),
    ]


def all_logits(ops, tensors, step):
    step_with_rows = type(step)(
        id_T=step.id_T,
        position_T=step.position_T,
        row_R=np.arange(len(step.id_T), dtype=np.int32),
        full=step.full,
        windowed=step.windowed,
    )
    network = Transformer(CONFIG, ops, prepare(CONFIG, ops, tensors))
    return ops.to_numpy(network.forward(step_with_rows, None))


def test_sharing_a_prefix_changes_no_logit():
    made = groups(np.random.default_rng(0))
    tensors = weights()
    shared = all_logits(TrainingOps(), tensors, prefix_group_batch(made, window=64))

    judge = {name: value.numpy() for name, value in tensors.items()}
    at = 0
    for group in made:
        at += len(group.prefix)
        whole = [[*group.prefix, *one] for one in group.sequences]
        law = all_logits(ReferenceOps(), judge, ForwardBatch.without_cache(whole, window=64))
        start = 0
        for one in group.sequences:
            expected = law[start + len(group.prefix) : start + len(group.prefix) + len(one)]
            # float32 sums in another order, through two layers
            np.testing.assert_allclose(shared[at : at + len(one)], expected, atol=2e-4)
            at += len(one)
            start += len(group.prefix) + len(one)


def test_the_routers_scores_are_kept():
    ops = TrainingOps()
    step = prefix_group_batch(groups(np.random.default_rng(0)), window=64)
    all_logits(ops, weights(), step)
    assert [tuple(score.shape) for score, _ in ops.scores] == [(len(step.id_T), 4)] * 2
    assert all(torch.equal(score.argmax(dim=1), expert[:, 0]) for score, expert in ops.scores)


def test_refuses_a_step_that_is_no_prefix_group():
    with pytest.raises(ValueError, match="steps of prefix groups"):
        all_logits(TrainingOps(), weights(), ForwardBatch.without_cache([[1, 2]], window=64))
