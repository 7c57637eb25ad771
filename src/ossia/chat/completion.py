"""Raw continuation: tokens -> text without the harmony format, control tokens spelt by name."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ossia.chat.events import Finished, TextDelta, Timing, TokenLogprob, TurnEnd, Usage
from ossia.chat.output_parser import StopFinder, UsageTracker, to_token_logprob
from ossia.engine.request import FinishReason, SampledToken, TokenEvent
from ossia.harmony.text_decoder import TextDecoder
from ossia.harmony.tokenizer import Tokenizer

CompletionEvent = TextDelta | Finished


@dataclass(slots=True)
class Completion:
    """The continuation of a raw prompt."""

    text: str = ""
    """Empty when the model has no tokenizer."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: TurnEnd = "cancelled"
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)


class CompletionParser:
    """Parses the tokens of a raw continuation into events, and keeps their ids."""

    def __init__(self, tokenizer: Tokenizer | None, stop: StopFinder, usage: UsageTracker) -> None:
        self._tokenizer = tokenizer
        self._decoder = None if tokenizer is None else TextDecoder(tokenizer)
        self._stop = stop
        self._usage = usage
        self.token_ids: list[int] = []
        self.ended = False

    def push(self, token: TokenEvent) -> Iterator[CompletionEvent]:
        """Parse one event of the engine; the last one yields `Finished`."""
        if token.sampled is not None:
            self._usage.count(forced=token.forced)
            self._usage.cached = token.cached_tokens
            if shown := self._show(token.sampled):
                yield shown
        if self._stop.found:
            yield from self.close("stop")
        elif token.finish_reason is not None:
            yield from self.close(token.finish_reason)

    def close(self, reason: FinishReason) -> Iterator[CompletionEvent]:
        """End here: yield what was held back."""
        if self.ended:
            return
        self.ended = True
        last = self._decoder.close() if self._decoder else ""
        if rest := self._stop.push(last) + self._stop.close():
            yield TextDelta(rest)
        assert reason != "error", "a failed request raises instead"
        yield self._usage.finished(reason)

    def _show(self, sampled: SampledToken) -> TextDelta | None:
        self.token_ids.append(sampled.token_id)
        if self._tokenizer is None or self._decoder is None:
            return None
        if self._tokenizer.is_text(sampled.token_id):
            text = self._decoder.push(sampled.token_id)
        else:
            text = self._decoder.close() + self._tokenizer.decode([sampled.token_id])
        logprobs = (to_token_logprob(sampled, self._tokenizer),) if sampled.is_scored else ()
        shown = self._stop.push(text)
        return TextDelta(shown, logprobs) if shown or logprobs else None


def complete(events: Iterator[CompletionEvent], parser: CompletionParser) -> Completion:
    """Fold a raw stream into one completion."""
    whole = Completion(token_ids=parser.token_ids)
    for event in events:
        if isinstance(event, TextDelta):
            whole.text += event.text
            whole.logprobs.extend(event.logprobs)
        else:
            whole.finish_reason, whole.usage, whole.timing = event.reason, event.usage, event.timing
    return whole


def meaningful_ids(tokenizer: Tokenizer | None, vocab_size: int) -> NDArray[np.bool_] | None:
    """Mask of the ids that have a meaning: not the padding of the table, not reserved names."""
    if tokenizer is None:
        return None
    mask_V = tokenizer.text_mask(vocab_size).copy()
    for name, token_id in tokenizer.control.items():
        if token_id < vocab_size and not name.startswith("<|reserved_"):
            mask_V[token_id] = True
    return mask_V


def end_token_ids(tokenizer: Tokenizer | None) -> frozenset[int]:
    """Ids that end a raw continuation."""
    if tokenizer is None:
        return frozenset()
    ids = tokenizer.ids
    return frozenset((ids.endoftext, ids.return_, ids.call))
