import random

import pytest

from ossia.chat.loops import EVERY, MAX_PERIOD, LoopDetector


def noticed_at(ids):
    """How many ids it took, or None."""
    loops = LoopDetector()
    return next((count for count, one in enumerate(ids, start=1) if loops.loops(one)), None)


@pytest.mark.parametrize(
    ("period", "tokens"), [(1, 256), (3, 256), (64, 256), (65, 260), (256, 1024)]
)
@pytest.mark.parametrize("before", [0, 50, 3000])
def test_notices_four_repeats_over_256_tokens(period, tokens, before):
    said = [10_000 + place for place in range(period)]
    found = noticed_at([*range(before), *said * 1024])
    assert 0 <= found - before - tokens < EVERY


def test_looks_only_now_and_then():
    assert noticed_at([*[1, 2, 3] * 85]) is None  # 255 tokens
    assert noticed_at([0, *[1, 2, 3] * 90]) is None  # the next look is after the 272nd
    assert noticed_at([0, *[1, 2, 3] * 91]) == 272


def test_a_longer_period_is_no_loop():
    assert noticed_at([*range(MAX_PERIOD + 1)] * 8) is None


def test_a_chant_that_ends_is_no_loop():
    assert noticed_at([*[7] * 255, 8] * 3) is None


def test_one_slip_begins_the_count_anew():
    assert noticed_at([*[7, 8] * 100, 9, *[7, 8] * 127, 10]) is None


@pytest.mark.parametrize(
    "text",
    [
        ", ".join(map(str, range(1, 2000))),
        "\n".join(f"{a} x {b} = {a * b}" for a in range(1, 13) for b in range(1, 13)),
        "\n".join(f"| row {i} | 0 | 0 | 0 |" for i in range(400)),
        "\n".join(f"{i:04b} AND {i ^ 5:04b} = {i & (i ^ 5):04b}" for i in range(16)),
        "".join(f"Step {i}: move disk {1 + i % 3} from A to B.\n" for i in range(200)),
    ],
)
def test_enumerations_and_tables_are_no_loops(text):
    assert noticed_at(text.encode()) is None


def test_random_text_is_no_loop():
    rng = random.Random(0)
    assert noticed_at(rng.choices(range(2), k=5000)) is None
