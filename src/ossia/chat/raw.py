"""Raw continuation: tokens -> text without the harmony frame, control tokens spelt by name."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ossia.chat.events import Finished, Text, Timing, TokenLogprob, TurnEnd, Usage
from ossia.chat.stops import StopFinder
from ossia.chat.turn import Meter, named
from ossia.engine.request import Choice, FinishReason, TokenEvent
from ossia.harmony.text_decoder import TextDecoder
from ossia.harmony.vocabulary import Vocabulary

RawEvent = Text | Finished


@dataclass(slots=True)
class Completion:
    """What came of a raw prompt."""

    text: str = ""
    """Empty when the model has no vocabulary."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: TurnEnd = "cancelled"
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)


class RawReader:
    """Spells tokens; remembers their ids."""

    def __init__(self, vocabulary: Vocabulary | None, stop: StopFinder) -> None:
        self._vocabulary = vocabulary
        self._decoder = None if vocabulary is None else TextDecoder(vocabulary)
        self.stop = stop
        self.token_ids: list[int] = []

    def push(self, choice: Choice) -> Text | None:
        """What one more token shows."""
        self.token_ids.append(choice.token_id)
        if self._vocabulary is None or self._decoder is None:
            return None
        if self._vocabulary.is_text(choice.token_id):
            text = self._decoder.push(choice.token_id)
        else:
            text = self._decoder.close() + self._vocabulary.decode([choice.token_id])
        logprobs = (named(choice, self._vocabulary),) if choice.is_scored else ()
        shown = self.stop.push(text)
        return Text(shown, logprobs) if shown or logprobs else None

    def close(self) -> Text | None:
        """What was held back."""
        rest = self.stop.push(self._decoder.close() if self._decoder else "") + self.stop.close()
        return Text(rest) if rest else None


def read_raw(tokens: Iterator[TokenEvent], reader: RawReader, meter: Meter) -> Iterator[RawEvent]:
    """Turn a stream of tokens into `Text` and, at the end, exactly one `Finished`."""
    reason: FinishReason = "cancelled"
    for token in tokens:
        reason = token.finish_reason or reason
        if token.choice is None:
            break
        meter.count(forced=token.forced)
        meter.cached = token.cached_tokens
        if shown := reader.push(token.choice):
            yield shown
        if reader.stop.found:
            reason = "stop"
            break
    if rest := reader.close():
        yield rest
    assert reason != "error", "a failed request raises instead"
    yield meter.finished(reason)


def complete(events: Iterator[RawEvent], reader: RawReader) -> Completion:
    """Fold a raw stream into one completion."""
    whole = Completion(token_ids=reader.token_ids)
    for event in events:
        if isinstance(event, Text):
            whole.text += event.text
            whole.logprobs.extend(event.logprobs)
        else:
            whole.finish_reason, whole.usage, whole.timing = event.reason, event.usage, event.timing
    return whole


def meaningful_ids(vocabulary: Vocabulary | None, vocab_size: int) -> NDArray[np.bool_] | None:
    """Mark the ids that stand for something: tables are padded, and a padding id says nothing."""
    if vocabulary is None:
        return None
    mask_V = vocabulary.text_mask(vocab_size).copy()
    for name, token_id in vocabulary.control.items():
        if token_id < vocab_size and not name.startswith("<|reserved_"):
            mask_V[token_id] = True
    return mask_V


def raw_stops(vocabulary: Vocabulary | None) -> frozenset[int]:
    """Ids that end a raw continuation."""
    if vocabulary is None:
        return frozenset()
    ids = vocabulary.ids
    return frozenset((ids.endoftext, ids.return_, ids.call))
