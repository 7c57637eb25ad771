import pytest

from ossia.strict_json import StrictJsonError, is_deeper, parse_strict


def test_what_is_plain_is_parsed():
    assert parse_strict('{"a": [1, 2.5, null]}', max_depth=2) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "fault", "found"),
    [
        ('{"a": {"b": 1, "b": 1}}', "duplicate_key", "b"),
        ("NaN", "constant", "NaN"),
        ("[-Infinity]", "constant", "-Infinity"),
        ("[[[]]]", "depth", ""),
        ("[" * 100_000, "depth", ""),
        ("12345", "digits", "12345"),
        ("1e999", "infinity", "1e999"),
        ("[{}, {}, {}]", "objects", "3"),
    ],
)
def test_what_is_ambiguous_or_unreasonable_is_refused(text, fault, found):
    with pytest.raises(StrictJsonError) as refused:
        parse_strict(text, max_depth=2, max_digits=4, max_objects=2)
    assert (refused.value.fault, refused.value.found) == (fault, found)


def test_limits_are_the_callers():
    assert parse_strict("[[[12345]]]") == [[[12345]]]
    assert parse_strict("1e999") == float("inf")


@pytest.mark.parametrize("text", ["", "{", "[1,]", "'a'"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match="column"):
        parse_strict(text)


def test_depth_counts_objects_and_lists():
    assert not is_deeper(1, 0)
    assert is_deeper([], 0)
    assert not is_deeper({"a": [1]}, 2)
    assert is_deeper({"a": [{}]}, 2)
