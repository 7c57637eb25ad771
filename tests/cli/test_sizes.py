"""Numbers as people read them."""

import pytest

from ossia.cli.sizes import as_bytes, as_count, as_table


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (13_761_264_768, "13.8 GB")],
)
def test_bytes(count, shown):
    assert as_bytes(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12"), (416_000, "416 thousand"), (20_914_757_184, "20.9 billion")]
)
def test_counts(count, shown):
    assert as_count(count) == shown


def test_a_table_stands_in_columns():
    assert as_table({"a": "1", "long": "2"}) == "a     1\nlong  2"
