"""No damaged request brings a 5xx; and the one who looks for it would see it."""

import asyncio
import random
from typing import Any

import pytest

from benchmarks.fuzz_requests import MAX_SECONDS, Outcome, damaged, fault, fuzz, most_seconds
from ossia.server import chat_completions, completions, discovery, responses
from tests.server.scripted import EitherEngine
from tests.server.serving import app_of, listening, services_with


@pytest.mark.slow
def test_no_damaged_request_brings_a_5xx() -> None:
    rooms = (chat_completions, completions, responses, discovery)
    with (
        services_with(EitherEngine()) as services,
        listening(app_of(services, *(room.routes for room in rooms))) as address,
    ):
        outcome = asyncio.run(fuzz(address, 400, random.Random(1)))
    assert outcome.failures == []
    assert outcome.statuses.total() == 400
    assert outcome.statuses[200] > 50
    assert outcome.statuses[400] > 100


def test_the_same_seed_damages_the_same_way() -> None:
    once, again = random.Random(5), random.Random(5)
    assert [damaged(once) for _ in range(20)] == [damaged(again) for _ in range(20)]


FINE = '{"error":{"message":"m","type":"t","param":null,"code":null}}'


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, "{}", None),
        (400, FINE, None),
        (0, "ReadTimeout", "no answer"),
        (500, FINE, "a 5xx"),
        (200, 'data: {"error":{"type":"server_error"}}', "a late error"),
        (404, "Not Found", "no error object"),
        (400, '{"error":{"message":"m"}}', "half an error object"),
        (400, FINE.replace('"m"', '"in body.py"'), "a place in the program"),
    ],
)
def test_what_counts_as_a_fault(status: int, text: str, expected: Any) -> None:
    assert fault(status, text) == expected


def test_what_is_slow_is_asked_again_and_judged_beside_a_canary() -> None:
    outcome = Outcome()
    outcome.note("/a", b"{}", 200, "{}", MAX_SECONDS - 0.1)
    outcome.note("/b", b"{}", 200, "{}", MAX_SECONDS + 0.1)
    outcome.note("/c", b"{}", 500, FINE, MAX_SECONDS + 0.1)
    assert outcome.slow == [("/b", b"{}")]
    outcome.note_again("/b", b"{}", MAX_SECONDS + 0.1, canary=0.06)  # the machine is a little busy
    assert outcome.kinds == {"a 5xx": 1}
    outcome.note_again("/b", b"{}", MAX_SECONDS + 0.1, canary=0.01)
    assert outcome.kinds == {"a 5xx": 1, "too slow": 1}
    assert most_seconds(0.5) == pytest.approx(10 * MAX_SECONDS)
