from datetime import date

import numpy as np
import pytest

from ossia.tasks.nano import LATE, TASKS, TOOL_TASKS
from ossia.tasks.nano.dialogues import draw_conversation, draw_date, draw_task, turns
from ossia.tasks.task import TaskSettings

MEDIUM = TaskSettings(effort="medium", date="2026-11-21")


def many(task, count=300):
    random = np.random.default_rng(0)
    return [draw_conversation(random, MEDIUM, task) for _ in range(count)]


@pytest.mark.parametrize("batch", [0, LATE - 1, LATE])
def test_tasks_come_by_their_shares(batch):
    random = np.random.default_rng(0)
    names = [draw_task(random, batch) for _ in range(4000)]
    for name, task in TASKS.items():
        share = task.late_share if batch == LATE else task.share
        assert abs(names.count(name) / len(names) - share) < 0.025


def test_some_dialogues_have_more_than_one_turn():
    counts = [len(list(turns(each))) for each in many("arithmetic")]
    assert 0.08 < sum(count > 1 for count in counts) / len(counts) < 0.25
    assert max(counts) == 3


def test_each_turn_is_the_conversation_up_to_an_answer():
    for conversation in many("functions", 60):
        found = list(turns(conversation))
        assert found[-1] == conversation
        for turn in found:
            assert turn.messages == conversation.messages[: len(turn.messages)]
            assert turn.messages[-1].channel == "final"
            assert turn.functions == conversation.functions


def test_a_tool_may_be_offered_and_not_needed():
    for task in TOOL_TASKS:
        unused = [
            each
            for each in many(task)
            if (each.functions or each.builtins) and not any(m.recipient for m in each.messages)
        ]
        assert len(unused) > 15


def test_nothing_is_said_before_what_must_follow_a_format_or_a_rule():
    for task in ("records", "instruction hierarchy"):
        first = [each.messages[0].text for each in many(task, 100)]
        assert (
            not [text for text in first if text in ("Hi", "Hello", "Thanks")]
            or task == "instruction hierarchy"
        )
    assert all(each.response_formats for each in many("records", 50))


def test_dates_are_days_of_twelve_years():
    random = np.random.default_rng(0)
    years = {date.fromisoformat(draw_date(random)).year for _ in range(500)}
    assert years == set(range(2024, 2036))
