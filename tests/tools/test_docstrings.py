"""Docstrings of three styles, and of none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.docstrings import Docstring, read_docstring

GOOGLE = """Add numbers.

    More words: here.

    Args:
        a: the first,
            on two lines
        b (int, optional): the second

        *rest: all others
        and a line that is none

    Returns:
        int: the sum

    Words after it.
    """
NUMPY = """Add numbers.

    More words: here.

    Parameters
    ----------
    a : int
        the first,
        on two lines
    b, c : int, optional
        both

        of them
    (odd)

    Returns
    -------
    int
        the sum
    """
REST = """Add numbers.

    More words: here.

    :param a: the first,
        on two lines
    :param int b: the second
    :type b: int
    :returns: the sum
    :rtype: int
    """


@pytest.mark.parametrize(
    ("text", "after", "arguments"),
    [
        (
            GOOGLE,
            "\n\nWords after it.",
            {"a": "the first, on two lines", "b": "the second", "rest": "all others"},
        ),
        (NUMPY, "", {"a": "the first, on two lines", "b": "both of them", "c": "both of them"}),
        (REST, "", {"a": "the first, on two lines", "b": "the second"}),
    ],
    ids=["google", "numpy", "rest"],
)
def test_takes_each_style_apart(text, after, arguments):
    assert read_docstring(text) == Docstring(f"Add numbers.\n\nMore words: here.{after}", arguments)


@pytest.mark.parametrize(
    "text",
    ["", "Add.", "Add.\n\nSome words:\n    stay as they are", "Usage\n-----\nCall it.", ":) smile"],
)
def test_text_of_no_style_is_all_description(text):
    assert read_docstring(text) == Docstring(text, {})


@given(st.text(alphabet="Args:\n -ab(*,):param "))
def test_never_raises(text):
    assert read_docstring(text).arguments is not None
