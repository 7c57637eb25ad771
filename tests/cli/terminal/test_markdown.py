"""A stream is cut where a block is certainly over, wherever the stream itself is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.cli.terminal.markdown import Blocks

PAGE = """# Title

A paragraph
of two lines.

1. one

   more of one

2. two

A paragraph that is clearly no list item.

```python
x = 1

# not a title
```

~~~~
```

still code
~~~~

| a | b |
|---|---|

The end"""

BLOCKS = [
    "# Title",
    "A paragraph\nof two lines.",
    "1. one\n\n   more of one\n\n2. two",
    "A paragraph that is clearly no list item.",
    "```python\nx = 1\n\n# not a title\n```",
    "~~~~\n```\n\nstill code\n~~~~",
    "| a | b |\n|---|---|",
]


def cut(text, places):
    blocks, closed = Blocks(), []
    for start, end in zip([0, *places], [*places, len(text)], strict=True):
        closed += blocks.push(text[start:end])
    return closed, blocks.tail


@given(st.lists(st.integers(0, len(PAGE))).map(sorted))
def test_the_cuts_do_not_depend_on_the_pieces(places):
    assert cut(PAGE, places) == (BLOCKS, "The end")


@given(st.text(alphabet="a `~#-1.\n", max_size=60), st.data())
def test_no_text_is_lost(text, data):
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    closed, tail = cut(text, places)
    assert "".join(("".join(closed) + tail).split("\n")) == text.replace("\n", "")


@pytest.mark.parametrize("text", ["- a\n\n- b", "- a\n\n  b", "- a\n\n-", "1. a\n\n2"])
def test_a_list_that_may_go_on_stays_open(text):
    assert cut(text, []) == ([], text)


def test_an_open_code_block_stays_open():
    assert cut("```\na\n\nb\n\nc", []) == ([], "```\na\n\nb\n\nc")
