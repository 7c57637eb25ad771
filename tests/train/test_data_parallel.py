from functools import partial

import pytest
import torch

from ossia.train import data_parallel
from ossia.train.batches import Lesson
from ossia.train.data_parallel import Team, deal, gathered


def lesson(prefix, length):
    return Lesson(prefix=(prefix,) * 5, ids=(9,) * length, pieces=((length, 1.0),), effort="low")


LESSONS = [lesson(1, 40), lesson(1, 10), lesson(2, 30), lesson(3, 5), lesson(1, 35), lesson(2, 8)]


def tokens(hand):
    return sum(len(each.ids) for each in hand)


@pytest.mark.parametrize("hands", [1, 2, 3])
def test_every_lesson_is_dealt_once(hands):
    dealt = deal(LESSONS, hands)
    assert len(dealt) == hands
    assert sorted(map(id, sum(dealt, []))) == sorted(map(id, LESSONS))


def test_hands_are_about_equally_heavy():
    one, two = map(tokens, deal(LESSONS, 2))
    assert max(one, two) <= 1.3 * min(one, two)


def test_a_small_family_stays_whole():
    small = [lesson(prefix, 3) for prefix in (1, 1, 2, 2, 3, 3, 4, 4)]
    for hand in deal(small, 2):
        families = [each.prefix for each in hand]
        assert all(families.count(prefix) == 2 for prefix in families)


def test_alone_nothing_is_added():
    gradient = torch.tensor([1.0, 2.0])
    assert Team().mine(LESSONS) == LESSONS
    assert Team().add_up([gradient], [3.0]) == [3.0]
    assert gradient.tolist() == [1.0, 2.0]


def contribute(folder, team):
    gradients = [
        torch.full((2, 2), float(team.rank + 1)),
        torch.tensor([10.0 * team.rank]),
    ]
    facts = team.add_up(gradients, [team.rank, 1.0])
    torch.save((gradients, facts), folder / f"{team.rank}")
    return facts


@pytest.mark.slow
def test_all_members_find_the_same_sums(tmp_path):
    with gathered(2, partial(contribute, tmp_path)) as mine:
        assert (mine.rank, mine.size, mine.leads) == (0, 2, True)
        facts = contribute(tmp_path, mine)
    assert facts == [1.0, 2.0]
    for rank in range(2):
        gradients, told = torch.load(tmp_path / f"{rank}")
        assert told == facts
        assert gradients[0].tolist() == [[3.0, 3.0], [3.0, 3.0]]
        assert gradients[1].tolist() == [10.0]


def fail(team):
    raise ValueError("no")


@pytest.mark.slow
def test_a_member_that_fails_is_not_passed_over():
    with pytest.raises(RuntimeError, match="ended with an error"), gathered(2, fail):
        pass


def test_one_member_starts_nothing():
    with gathered(1, fail) as mine:
        assert mine == Team()
    assert data_parallel.Team(1, 2).leads is False
