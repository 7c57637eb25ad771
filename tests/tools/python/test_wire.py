"""Frames: any split of the bytes gives the same messages, and nothing else passes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.python.wire import MAX_FRAME_BYTES, Breach, Frames, frame

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))


@given(MESSAGES, st.lists(st.integers(1, 20)))
def test_any_split_gives_the_same_messages(messages, sizes):
    written, frames, found = b"".join(map(frame, messages)), Frames(), []
    for size in sizes:
        found += frames.push(written[:size])
        written = written[size:]
    assert found + frames.push(written) == messages


@pytest.mark.parametrize(
    "written",
    [
        struct.pack(">I", MAX_FRAME_BYTES + 1),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 1) + b"{",
        struct.pack(">I", 0),
        struct.pack(">I", 100_000) + b"[" * 100_000,
        struct.pack(">I", 2) + b"\xff\xff",
    ],
)
def test_what_is_no_message_is_a_breach(written):
    with pytest.raises(Breach):
        Frames().push(written)
