"""Whatever is written, what the model reads of it is short and plain."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.python.interpreter import HEAD_BYTES, TAIL_BYTES, Capture, plain


def captured(*pieces):
    capture = Capture()
    for piece in pieces:
        capture.push(piece)
    return capture.text()


@given(st.binary(max_size=300), st.integers(0, 300))
def test_the_cut_between_two_pieces_leaves_no_trace(written, at):
    assert captured(written[:at], written[at:]) == captured(written)


@pytest.mark.parametrize(
    "size", [HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + TAIL_BYTES]
)
def test_up_to_the_cap_nothing_is_left_out(size):
    assert captured(b"x" * size) == "x" * size


def test_of_more_the_middle_is_left_out_and_named():
    text = captured(b"a" * HEAD_BYTES, b"b" * 1000, b"c" * TAIL_BYTES)
    assert text == "a" * HEAD_BYTES + "\n[... 1000 bytes left out ...]\n" + "c" * TAIL_BYTES


def test_memory_stays_bounded():
    capture = Capture()
    for _ in range(1000):
        capture.push(b"x" * 65536)
    assert capture.num_bytes == 65_536_000
    assert len(capture.text()) < 70_000


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPdevice\x1b\\x", "x"),
        (b"\x1b(Bx\x1bcy", "xy"),
        ("\x9b31mx".encode(), "x"),
        (b" 10%\r 50%\r100%\n", "100%\n"),
        (b"a\r\nb", "a\nb"),
        (b"a\x00\x07\x08b\x7f", "ab"),
        (b"\xff\xfe ok", "\ufffd\ufffd ok"),
        ("tab\there, 日本".encode(), "tab\there, 日本"),
    ],
)
def test_terminal_codes_go_and_text_stays(written, shown):
    assert plain(written) == shown


@given(st.binary(max_size=200))
def test_no_control_character_is_ever_left(written):
    assert all(c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") for c in plain(written))


@pytest.mark.parametrize("piece", [b"\x1b]", b"\x1b[", b"\r", b"\x1bP\n", b"x\r"])
def test_hostile_bytes_take_no_longer_than_others(piece):
    began = time.process_time()
    plain(piece * (65536 // len(piece)))
    assert time.process_time() - began < 1
