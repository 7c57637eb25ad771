import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.stories import HEROES, WISHES
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question


def many(settings=None, count=200):
    random = np.random.default_rng(0)
    return [
        draw(random, settings or TaskSettings(effort="medium"), "stories") for _ in range(count)
    ]


def test_a_story_is_about_whom_it_was_asked_for():
    for conversation in many():
        hero = next(each for each in HEROES if each in question(conversation))
        assert f" lived a {hero} named " in answer(conversation)
        assert "{" not in answer(conversation)


def test_stories_differ():
    assert len({answer(each) for each in many()}) > 190


def test_the_wish_kept_out_is_never_trained():
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 10)
    assert all(WISHES[-1].wanted in answer(each) for each in held_out)
    assert not [each for each in many() if WISHES[-1].wanted in answer(each)]
