import numpy as np
import torch

from ossia.harmony.messages import Conversation
from ossia.tasks.nano import TOOL_TASKS, draw
from ossia.tasks.nano.arithmetic import exchange
from ossia.tasks.nano.columns import Problem
from ossia.tasks.task import TaskSettings
from ossia.train.batches import CONTEXT_WEIGHT, MAX_TOKENS, collate, draw_examples, training_example

WINDOW = 64


def dialogue(*problems, effort="medium"):
    random = np.random.default_rng(0)
    settings = TaskSettings(effort=effort)
    messages = [message for each in problems for message in exchange(random, each, settings)]
    return Conversation(messages=tuple(messages), effort=effort)


def taught(tokenizer, made, weight):
    return tokenizer.decode(
        each for each, own in zip(made.ids, made.weights, strict=True) if own == np.float32(weight)
    )


def drawn(tokenizer, number=0, seed=0, split="train"):
    return draw_examples(tokenizer, seed=seed, number=number, examples=24, split=split)


def test_the_answer_counts_whole_and_the_question_a_tenth(tokenizer):
    made = training_example(tokenizer, dialogue(Problem(3, "+", 4)))
    assert taught(tokenizer, made, 1.0) == (
        "<|channel|>analysis<|message|>3 + 4\nones 3 + 4 = 7 write 7<|end|>"
        "<|start|>assistant<|channel|>final<|message|>7<|return|>"
    ).replace("<|start|>assistant", "")  # who speaks is not the model's to say
    assert "3" in taught(tokenizer, made, CONTEXT_WEIGHT)
    assert tokenizer.decode(made.prefix).startswith("<|start|>system<|message|>You are")
    assert tokenizer.decode(made.prefix).endswith("<|end|>")


def test_low_effort_goes_straight_to_the_answer(tokenizer):
    made = training_example(tokenizer, dialogue(Problem(3, "+", 4), effort="low"))
    assert taught(tokenizer, made, 1.0) == "<|channel|>final<|message|>7<|return|>"


def test_only_the_last_turn_is_learned_and_earlier_reasoning_is_gone(tokenizer):
    made = training_example(tokenizer, dialogue(Problem(3, "+", 4), Problem(5, "+", 4)))
    whole = tokenizer.decode(made.ids)
    assert "write 7" not in whole
    assert "<|channel|>final<|message|>7<|end|>" in whole
    assert taught(tokenizer, made, 0.0) == "<|channel|>final<|message|>7<|end|>"
    assert taught(tokenizer, made, 1.0).endswith("<|message|>9<|return|>")


def test_a_call_is_learned_and_its_result_is_not(tokenizer):
    random = np.random.default_rng(0)
    conversation = draw(random, TaskSettings(effort="low", split="train"), "python")
    call, result = conversation.messages[1:3]
    learned = taught(tokenizer, training_example(tokenizer, conversation), 1.0)
    head = " to=python<|channel|>analysis code<|message|>"
    assert learned.startswith(f"{head}{call.text}<|call|><|channel|>final")
    assert f"<|start|>python to=assistant<|channel|>analysis<|message|>{result.text}" in taught(
        tokenizer, training_example(tokenizer, conversation), CONTEXT_WEIGHT
    )


def test_each_wanted_row_predicts_the_token_behind_it(tokenizer):
    made = [
        training_example(tokenizer, dialogue(Problem(3, "+", 4))),
        training_example(tokenizer, dialogue(Problem(50, "-", 4))),
    ]
    batch = collate(made, window=WINDOW)
    expected = [ids for one in made for ids in one.ids[1:]]
    assert batch.target_R.tolist() == expected
    assert batch.step.id_T[batch.step.row_R + 1].tolist() == expected
    assert batch.example_R.tolist() == [0] * (len(made[0].ids) - 1) + [1] * (len(made[1].ids) - 1)
    assert batch.efforts == ("medium", "medium")


def test_a_batch_is_its_number(tokenizer):
    first = drawn(tokenizer, 5)
    assert first == drawn(tokenizer, 5)
    assert first != drawn(tokenizer, 6)
    assert first != drawn(tokenizer, 5, seed=1)
    assert first != drawn(tokenizer, 5, split="validation")
    batches = [collate(drawn(tokenizer, 5), window=WINDOW) for _ in range(2)]
    assert torch.equal(batches[0].target_R, batches[1].target_R)


def test_examples_of_one_system_message_stand_together_and_few_messages_serve_all(tokenizer):
    for number in range(5):
        prefixes = [each.prefix for each in drawn(tokenizer, number)]
        changes = sum(a != b for a, b in zip(prefixes, prefixes[1:], strict=False))
        assert changes + 1 == len(set(prefixes)) <= 6 + 2 * len(TOOL_TASKS)


def test_a_batch_holds_every_effort_and_no_example_that_is_too_long(tokenizer):
    found = [each for number in range(4) for each in drawn(tokenizer, number)]
    assert {each.effort for each in found} == {"low", "medium", "high"}
    assert max(len(each.ids) for each in found) <= MAX_TOKENS
