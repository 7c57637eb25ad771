"""Processor time of one delta of a streamed response: the event alone, and as bytes of its frame.

Run: python -m benchmarks.response_events [deltas]
"""

import sys
import time
from collections.abc import Callable

from ossia.chat.events import Event, PartStarted, ReasoningDelta, TextDelta, TokenLogprob
from ossia.server.api.sse import sse_frame
from ossia.server.responses.objects import Json, ResponseSettings
from ossia.server.responses.writer import ResponseWriter

SCORED = TokenLogprob(" word", 1, -0.5, (TokenLogprob(" word", 1, -0.5),) * 5)
PIECES: dict[str, tuple[PartStarted, Event]] = {
    "reasoning": (PartStarted("analysis"), ReasoningDelta(" word")),
    "text": (PartStarted("final"), TextDelta(" word")),
    "text with 5 log probabilities": (PartStarted("final"), TextDelta(" word", (SCORED,))),
}


def microseconds(
    began: PartStarted, piece: Event, num_deltas: int, use: Callable[[Json], object]
) -> float:
    """Processor time of one delta."""
    writer = ResponseWriter(ResponseSettings(model="nano", include_logprobs=True))
    writer.begin()
    writer.push(began)
    start = time.process_time()
    for _ in range(num_deltas):
        for event in writer.push(piece):
            use(event)
    return (time.process_time() - start) / num_deltas * 1e6


def main(num_deltas: int) -> None:
    """Print one line for each kind of piece."""
    for name, (began, piece) in PIECES.items():
        event = microseconds(began, piece, num_deltas, lambda event: None)
        frame = microseconds(
            began, piece, num_deltas, lambda event: sse_frame(event, event["type"])
        )
        print(f"{name}: {event:.1f} us an event, {frame:.1f} us with its frame")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
