import json
from datetime import date, datetime

import pytest

DAYS = [
    ("2024-02-29", True), ("2023-02-29", False), ("2000-02-29", True), ("1900-02-29", False),
    ("2023-04-31", False), ("2023-12-31", True), ("2023-13-01", False), ("0000-01-01", False),
    ("0001-01-01", True), ("2023-1-1", False), ("2023-02-28", True), ("0400-02-29", True),
]  # fmt: skip


@pytest.mark.parametrize(("day", "is_real"), DAYS)
def test_dates_are_days_of_the_calendar(accepts, day, is_real):
    assert accepts({"type": "string", "format": "date"}, json.dumps(day)) == is_real
    moment = json.dumps(f"{day}T12:00:00Z")
    assert accepts({"type": "string", "format": "date-time"}, moment) == is_real


@pytest.mark.parametrize(
    ("time", "is_real"),
    [("23:59:59Z", True), ("23:59:59.5+02:00", True), ("24:00:00Z", False), ("12:00:60Z", False),
     ("12:00:00", False), ("12:00Z", False)],
)  # fmt: skip
def test_times_have_a_zone(accepts, time, is_real):
    assert accepts({"type": "string", "format": "time"}, json.dumps(time)) == is_real


def test_what_is_written_is_a_date_to_python_too(written):
    for seed in range(30):
        assert date.fromisoformat(written({"type": "string", "format": "date"}, seed))
        moment = {"type": "string", "format": "date-time"}
        assert datetime.fromisoformat(written(moment, seed))


def test_a_format_and_a_pattern_hold_together(accepts):
    schema = {"type": "string", "format": "date", "pattern": "^2024"}
    assert accepts(schema, '"2024-02-29"')
    assert not accepts(schema, '"2023-02-28"')


def test_a_format_binds_strings_only(accepts):
    schema = {"type": ["integer", "string"], "format": "date"}
    assert accepts(schema, "12")
    assert not accepts(schema, '"12"')


def test_a_map_may_be_asked_to_have_an_entry(accepts):
    schema = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}}
    assert accepts(schema, '{"a":1}')
    assert not accepts(schema, "{}")


def test_as_many_properties_as_are_required_need_no_counting(accepts):
    schema = {"type": "object", "required": ["a", "b"], "minProperties": 2}
    assert accepts(schema, '{"a":1,"b":2}')
    assert not accepts(schema, '{"a":1}')


@pytest.mark.parametrize("other", [None, 0.5, 1e-12, 1, 7])
@pytest.mark.parametrize("edge", ["", "exclusive"])
def test_zero_is_neither_above_nor_below_zero(accepts, other, edge):
    def bound(name):
        return f"{edge}{name}" if edge else name.lower()

    above = {"type": "number", "exclusiveMinimum": 0}
    below = {"type": "number", "exclusiveMaximum": 0}
    if other is not None:
        above[bound("Maximum")], below[bound("Minimum")] = other, -other
    if other == 1e-12 and edge:
        return  # nothing is left
    for zero in ("0", "-0", "0.0", "-0.0", "0.00"):
        assert not accepts(above, zero)
        assert not accepts(below, zero)
    if other != 1e-12:
        assert accepts(above, "0.4")
        assert accepts(below, "-0.4")


def test_a_bound_at_zero_keeps_a_closer_one(accepts):
    schema = {"type": "number", "exclusiveMinimum": 0, "minimum": 3}
    assert accepts(schema, "3")
    assert not accepts(schema, "2")
    assert accepts({"type": "integer", "exclusiveMinimum": 0}, "1")
    assert not accepts({"type": "integer", "exclusiveMinimum": 0}, "0")
    assert accepts({"type": "integer", "exclusiveMaximum": 0, "maximum": 5}, "-1")


def test_whole_numbers_come_to_an_end(accepts):
    for sign in ("", "-"):
        assert accepts({"type": "integer"}, f"{sign}1{'0' * 18}")
        assert not accepts({"type": ["integer", "null"]}, f"{sign}1{'0' * 17}1{'0'}")
        assert accepts({"type": ["integer", "number"]}, f"{sign}1{'0' * 30}")
    assert accepts({"type": "integer", "exclusiveMinimum": 5}, "6")
    assert not accepts({"type": "integer", "exclusiveMinimum": 5}, "5")
    assert accepts({"type": "integer", "exclusiveMaximum": 5}, "-4")
