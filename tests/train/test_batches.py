import numpy as np
import torch

from ossia.train.batches import SAID_WEIGHT, collate, lesson, make_batch
from ossia.train.dialogues import converse
from ossia.train.tasks.arithmetic import Problem, exchange
from ossia.train.tasks.task import Setting

WINDOW = 64


def dialogue(*problems, effort="medium"):
    random = np.random.default_rng(0)
    setting = Setting(effort=effort)
    return converse([exchange(random, each, setting) for each in problems], setting)


def taught(vocabulary, made, weight):
    return vocabulary.decode(
        each for each, own in zip(made.ids, made.weights, strict=True) if own == weight
    )


def test_the_answer_counts_whole_and_the_question_a_tenth(vocabulary):
    made = lesson(vocabulary, dialogue(Problem(3, "+", 4)))
    assert taught(vocabulary, made, 1.0) == (
        "<|channel|>analysis<|message|>3 + 4\nones 3 + 4 = 7 write 7<|end|>"
        "<|start|>assistant<|channel|>final<|message|>7<|return|>"
    )
    assert "3" in taught(vocabulary, made, SAID_WEIGHT)
    assert set(made.weights) == {1.0, SAID_WEIGHT}
    assert vocabulary.decode(made.prefix).startswith("<|start|>system<|message|>You are")
    assert vocabulary.decode(made.prefix).endswith("<|end|>")


def test_low_effort_goes_straight_to_the_answer(vocabulary):
    made = lesson(vocabulary, dialogue(Problem(3, "+", 4), effort="low"))
    assert taught(vocabulary, made, 1.0) == "<|channel|>final<|message|>7<|return|>"


def test_only_the_last_turn_is_learned_and_earlier_reasoning_is_gone(vocabulary):
    made = lesson(vocabulary, dialogue(Problem(3, "+", 4), Problem(5, "+", 4)))
    whole = vocabulary.decode(made.ids)
    assert "write 7" not in whole
    assert "<|channel|>final<|message|>7<|end|>" in whole
    assert taught(vocabulary, made, 0.0) == "<|channel|>final<|message|>7<|end|>"
    assert taught(vocabulary, made, 1.0).endswith("<|message|>9<|return|>")


def test_each_wanted_row_predicts_the_token_behind_it(vocabulary):
    made = [
        lesson(vocabulary, dialogue(Problem(3, "+", 4))),
        lesson(vocabulary, dialogue(Problem(50, "-", 4))),
    ]
    batch = collate([made], ("medium", "medium"), window=WINDOW)
    expected = [ids for one in made for ids in one.ids[1:]]
    assert batch.target_R.tolist() == expected
    assert batch.step.id_T[batch.step.row_R + 1].tolist() == expected
    assert batch.lesson_R.tolist() == [0] * (len(made[0].ids) - 1) + [1] * (len(made[1].ids) - 1)


def test_a_batch_is_its_number(vocabulary):
    def batch(seed, number, split="train"):
        return make_batch(
            vocabulary, seed=seed, number=number, lessons=12, window=WINDOW, split=split
        )

    first, again = batch(0, 5), batch(0, 5)
    assert np.array_equal(first.step.id_T, again.step.id_T)
    assert torch.equal(first.weight_R, again.weight_R)
    others = [batch(0, 6), batch(1, 5), batch(0, 5, split="validation")]
    assert not [one for one in others if np.array_equal(one.step.id_T, first.step.id_T)]


def test_a_batch_holds_every_effort_with_and_without_a_date(vocabulary):
    batch = make_batch(vocabulary, seed=0, number=0, lessons=12, window=WINDOW, split="train")
    starts = batch.step.full.first_Q[batch.step.full.past_Q == 0]
    texts = [vocabulary.decode(batch.step.id_T[at : at + 80].tolist()) for at in starts]
    told = [
        (effort, "Current date" in text)
        for text in texts
        for effort in ("low", "medium", "high")
        if f"Reasoning: {effort}" in text
    ]
    assert sorted(told) == sorted((e, d) for e in ("low", "medium", "high") for d in (True, False))
    assert set(batch.efforts) == {"low", "medium", "high"}
