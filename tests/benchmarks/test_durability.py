import pytest

from benchmarks import durability


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path):
    found = durability.kill(5, num_writers=8, seed=1, folder=tmp_path)
    assert found["acknowledged"] > 100
    assert found["lost"] == found["altered"] == 0, found["examples"]


def test_the_check_sees_what_was_never_written_and_what_was_not_deleted(tmp_path):
    path = tmp_path / "store.sqlite3"
    found = durability.check(path, ["begun a\n", "deleting b\n", "deleted b\n"])
    assert found == (3 - 1, ["a"], [])
    with durability.closing(durability.Database(path)) as database:
        responses = durability.Responses(database)
        for response_id in "ab":
            responses.begin(durability.stored(response_id)).result(30)
    lines = ["begun a\n", "finished a\n", "tokens a\n", "events a\n", "begun b\n", "deleted b\n"]
    found = durability.check(path, lines)
    assert found == (6, ["events of a", "tokens of a"], ["a", "b"])
