import pytest

from ossia import LLM
from ossia.evals.nano import as_markdown, measure
from ossia.evals.nano_cells import EFFORTS, Cell


@pytest.fixture(scope="module")
def table():
    with LLM("nano") as llm:
        sums = [
            Cell(task="+ and -, 1 to 3 digits", column="trained", effort=each) for each in EFFORTS
        ]
        record = Cell(task="records", column="trained", effort="low")
        return measure(llm, [*sums, record], 6)


def test_every_line_counts_what_was_played(table):
    assert [row.n for row in table.rows] == [6] * 4
    assert all(0 <= row.right <= row.n for row in table.rows)


def test_the_shipped_model_adds_with_reasoning_that_grows_with_effort(table):
    low, medium, high = (row.reasoning_tokens for row in table.rows[:3])
    assert low < medium < high
    assert table.rows[1].right >= 4
    assert (table.pairs, table.rising) == (6, 6)


def test_answers_under_a_format_are_counted_held_to_it_and_not(table):
    record = table.rows[3]
    assert record.valid_free == 0  # this model was never taught to write JSON
    assert record.valid_free <= record.valid <= record.n
    assert [row.valid for row in table.rows[:3]] == [None] * 3


def test_the_table_reads_alike_for_people_and_programs(table):
    told = table.as_dict()
    assert len(told["rows"]) == len(table.rows)
    low, high = told["rows"][1]["interval"]
    assert 0 < low <= told["rows"][1]["share"] <= high + 1e-9
    assert len(told["transcripts"]) == 10
    assert {"asked", "said", "right", "seed"} <= set(told["transcripts"][0])
    text = as_markdown(table)
    assert "| + and -, 1 to 3 digits | trained | medium | 6 |" in text
    assert text.endswith("at 6 of 6 problems.")
