from functools import partial

import pytest
import torch

from ossia.train import data_parallel
from ossia.train.batches import TrainingExample
from ossia.train.data_parallel import DataParallelGroup, partition, spawn_workers


def training_example(prefix, length):
    return TrainingExample(
        prefix=(prefix,) * 5, ids=(9,) * length, pieces=((length, 1.0),), effort="low"
    )


EXAMPLES_PER_BATCH = [
    training_example(1, 40),
    training_example(1, 10),
    training_example(2, 30),
    training_example(3, 5),
    training_example(1, 35),
    training_example(2, 8),
]


def tokens(part):
    return sum(len(each.ids) for each in part)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_every_example_is_dealt_once(parts):
    dealt = partition(EXAMPLES_PER_BATCH, parts)
    assert len(dealt) == parts
    assert sorted(map(id, sum(dealt, []))) == sorted(map(id, EXAMPLES_PER_BATCH))


def test_hands_are_about_equally_heavy():
    one, two = map(tokens, partition(EXAMPLES_PER_BATCH, 2))
    assert max(one, two) <= 1.3 * min(one, two)


def test_a_small_group_stays_whole():
    small = [training_example(prefix, 3) for prefix in (1, 1, 2, 2, 3, 3, 4, 4)]
    for part in partition(small, 2):
        groups = [each.prefix for each in part]
        assert all(groups.count(prefix) == 2 for prefix in groups)


def test_alone_nothing_is_added():
    gradient = torch.tensor([1.0, 2.0])
    assert DataParallelGroup().local_examples(EXAMPLES_PER_BATCH) == EXAMPLES_PER_BATCH
    assert DataParallelGroup().all_reduce([gradient], [3.0]) == [3.0]
    assert gradient.tolist() == [1.0, 2.0]


def contribute(folder, parallel):
    gradients = [
        torch.full((2, 2), float(parallel.rank + 1)),
        torch.tensor([10.0 * parallel.rank]),
    ]
    statistics = parallel.all_reduce(gradients, [parallel.rank, 1.0])
    torch.save((gradients, statistics), folder / f"{parallel.rank}")
    return statistics


@pytest.mark.slow
def test_all_members_find_the_same_sums(tmp_path):
    with spawn_workers(2, partial(contribute, tmp_path)) as local_examples:
        assert (local_examples.rank, local_examples.world_size, local_examples.is_main) == (
            0,
            2,
            True,
        )
        statistics = contribute(tmp_path, local_examples)
    assert statistics == [1.0, 2.0]
    for rank in range(2):
        gradients, record = torch.load(tmp_path / f"{rank}")
        assert record == statistics
        assert gradients[0].tolist() == [[3.0, 3.0], [3.0, 3.0]]
        assert gradients[1].tolist() == [10.0]


def fail(parallel):
    raise ValueError("no")


@pytest.mark.slow
def test_a_member_that_fails_is_not_passed_over():
    with pytest.raises(RuntimeError, match="ended with an error"), spawn_workers(2, fail):
        pass


def test_one_member_starts_nothing():
    with spawn_workers(1, fail) as local_examples:
        assert local_examples == DataParallelGroup()
    assert data_parallel.DataParallelGroup(1, 2).is_main is False
