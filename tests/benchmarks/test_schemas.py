import pytest

from benchmarks.schema_maker import SchemaMaker
from benchmarks.schemas import ConstrainedAnswers


@pytest.mark.slow
def test_every_whole_answer_fits_its_schema_whatever_the_weights(tmp_path):
    answers = ConstrainedAnswers(tmp_path, seed=7, backend="cpu")
    with answers.grammars:
        answers.write(60)
    assert answers.faults == []
    assert answers.counts["completed"] >= 40
    assert answers.refusals.total() > 0


def test_one_seed_makes_one_schema():
    assert SchemaMaker(3).make() == SchemaMaker(3).make() != SchemaMaker(4).make()
