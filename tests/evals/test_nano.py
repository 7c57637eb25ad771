import pytest

from ossia import LLM
from ossia.evals.nano import as_markdown, measure, wilson
from ossia.evals.nano_cells import EFFORTS, Cell


@pytest.fixture(scope="module")
def report():
    with LLM("nano") as llm:
        sums = [
            Cell(task="+ and -, 1 to 3 digits", column="trained", effort=each) for each in EFFORTS
        ]
        record = Cell(task="records", column="trained", effort="low")
        return measure(llm, [*sums, record], 6)


def test_every_line_counts_what_was_played(report):
    assert [row.n for row in report.rows] == [6] * 4
    assert all(0 <= row.right <= row.n for row in report.rows)


def test_the_shipped_model_adds_with_reasoning_that_grows_with_effort(report):
    low, medium, high = (row.reasoning_tokens for row in report.rows[:3])
    assert low < medium < high
    assert report.rows[1].right >= 4
    assert (report.pairs, report.rising) == (6, 6)


def test_answers_under_a_format_are_counted_held_to_it_and_not(report):
    record = report.rows[3]
    assert record.valid_free == 0  # this model was never taught to write JSON
    assert record.valid_free <= record.valid <= record.n
    assert [row.valid for row in report.rows[:3]] == [None] * 3


def test_the_table_reads_alike_for_people_and_programs(report):
    as_json = report.as_dict()
    assert len(as_json["rows"]) == len(report.rows)
    low, high = as_json["rows"][1]["interval"]
    assert 0 < low <= as_json["rows"][1]["share"] <= high + 1e-9
    assert len(as_json["transcripts"]) == 10
    assert {"asked", "said", "right", "seed"} <= set(as_json["transcripts"][0])
    text = as_markdown(report)
    assert "| + and -, 1 to 3 digits | trained | medium | 6 |" in text
    assert text.endswith("at 6 of 6 problems.")


def test_the_interval_is_the_one_of_the_tables():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))


def test_nothing_counted_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_share_lies_inside_and_never_beyond_certainty():
    for right in (0, 1, 250, 499, 500):
        low, high = wilson(right, 500)
        assert 0 <= low <= right / 500 + 1e-12
        assert right / 500 - 1e-12 <= high <= 1
