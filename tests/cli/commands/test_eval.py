import json


def test_lines_can_be_chosen_and_come_as_json(ossia):
    done = ossia(
        "eval", "nano", "--n", "2", "--task", "small talk", "--column", "trained", "--effort",
        "low", "--json",
    )  # fmt: skip
    assert done.code == 0
    assert "ossia: 1 of 1: small talk, trained, low: " in done.err
    (row,) = json.loads(done.out)["rows"]
    assert (row["task"], row["column"], row["effort"], row["n"]) == (
        "small talk", "trained", "low", 2,
    )  # fmt: skip


def test_a_line_that_does_not_exist_is_refused_with_those_that_do(ossia):
    done = ossia("eval", "nano", "--task", "chess")
    assert done.code == 2
    assert "'chess' is not in the table; there are: + and -, 1 to 3 digits" in done.err
