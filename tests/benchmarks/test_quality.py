"""How two sets of predictions are held against each other."""

import numpy as np
import pytest

from benchmarks.quality import Agreement, conversations, distance
from ossia.checkpoint import open_checkpoint
from ossia.checkpoint.find import find_model
from ossia.harmony.tokenizer import Tokenizer


def agreement(found, judge):
    both = Agreement()
    both.add(np.array(found, np.float32), np.array(judge, np.float32))
    return both


def test_the_same_logits_agree_and_do_not_diverge():
    same = agreement([[1, 2, 3]], [[1, 2, 3]])
    assert (same.positions, same.same, same.divergence) == (1, 1, 0)


def test_divergence_is_of_the_found_from_the_judge():
    """KL((3/4, 1/4), (1/2, 1/2)) = ln 2 - H(3/4), in nats."""
    found = agreement([[0, 0]], [[np.log(3), 0]])
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert found.divergence == pytest.approx(expected, rel=1e-6)
    assert found.largest == pytest.approx(expected, rel=1e-6)


def test_positions_are_added_up():
    both = agreement([[0, 1]], [[0, 1]])
    both.add(np.array([[0, 1]], np.float32), np.array([[1, 0]], np.float32))
    assert (both.positions, both.same) == (2, 1)
    assert str(both).startswith("50.00 %")


def test_distance_is_relative_to_what_was_expected():
    assert distance(np.array([3.0, 3.0], "f"), np.array([3.0, 4.0], "f")) == pytest.approx(0.2)


def test_rows_are_those_that_predict_what_the_assistant_says():
    path = open_checkpoint(find_model("nano")).tokenizer_path
    tokenizer = Tokenizer.from_file(path)
    texts = list(conversations(tokenizer, 200))
    assert sum(len(rows) for _, rows in texts) == 200
    ids, rows = texts[0]
    text = tokenizer.decode([ids[row + 1] for row in rows])
    assert text.startswith("<|channel|>")
