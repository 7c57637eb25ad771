"""The completion of a raw prompt, and the token ids allowed in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ossia.chat.events import Finished, TextDelta, Timing, TokenLogprob, TurnEnd, Usage
from ossia.chat.output_parser import CompletionEvent, CompletionParser
from ossia.harmony.tokenizer import Tokenizer


@dataclass(slots=True)
class Completion:
    """The completion of a raw prompt."""

    text: str = ""
    """Empty when the model has no tokenizer."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: TurnEnd = "cancelled"
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)


def complete(events: Iterator[CompletionEvent], parser: CompletionParser) -> Completion:
    """Fold a raw stream into one completion."""
    whole = Completion(token_ids=parser.token_ids)
    for event in events:
        if isinstance(event, TextDelta):
            whole.text += event.text
            whole.logprobs.extend(event.logprobs)
        elif isinstance(event, Finished):
            whole.finish_reason, whole.usage, whole.timing = event.reason, event.usage, event.timing
    return whole


def meaningful_ids(tokenizer: Tokenizer | None, vocab_size: int) -> NDArray[np.bool_] | None:
    """Mask of the defined ids: no padding of the table, no reserved names."""
    if tokenizer is None:
        return None
    mask_V = tokenizer.text_mask(vocab_size).copy()
    for name, token_id in tokenizer.control.items():
        if token_id < vocab_size and not name.startswith("<|reserved_"):
            mask_V[token_id] = True
    return mask_V


def end_token_ids(tokenizer: Tokenizer | None) -> frozenset[int]:
    """Return the ids that end a raw completion."""
    if tokenizer is None:
        return frozenset()
    ids = tokenizer.ids
    return frozenset((ids.endoftext, ids.return_, ids.call))
