"""Converts events of raw requests to chunks of text_completion, and folds chunks to the answer.

Pure and synchronous: no clock, no socket.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ossia.chat.events import Event, Finished, TextDelta, TokenLogprob, Usage
from ossia.server.completions.request import ParsedCompletionRequest
from ossia.server.responses.objects import LEAST_LOGPROB, Json


class CompletionWriter:
    """Converts events of raw requests to chunks."""

    def __init__(self, head: Json, parsed: ParsedCompletionRequest) -> None:
        self._head = head
        self._parsed = parsed
        self._tail: Json = {"usage": None} if parsed.streams and parsed.includes_usage else {}
        self._lengths = [0] * (len(parsed.prompts) * parsed.num_candidates)
        self._usages: dict[int, Usage] = {}

    def begin(self) -> list[Json]:
        """Return the echoed prompts, if requested."""
        if not self._parsed.echoes:
            return []
        texts = [self._prompt(number) for number in range(len(self._lengths))]
        return [self._chunk(number, text) for number, text in enumerate(texts)]

    def push(self, number: int, event: Event) -> list[Json]:
        """Convert one event of a turn to at most one chunk."""
        match event:
            case TextDelta(text, scored):
                at = self._lengths[number]
                return [self._chunk(number, text, logprobs=self._scored(scored, at))]
            case Finished(reason, usage):
                self._usages[number] = usage
                return [self._chunk(number, "", finish_reason=reason)]
            case _:
                raise AssertionError("a raw turn has no parts")

    def end(self) -> list[Json]:
        """Return the usage, if the request includes it: each prompt once, and all completions."""
        if not self._parsed.includes_usage:
            return []
        first = [self._usages[n] for n in range(0, len(self._lengths), self._parsed.num_candidates)]
        prompt = sum(usage.prompt_tokens for usage in first)
        written = sum(usage.completion_tokens for usage in self._usages.values())
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
            "prompt_tokens_details": {"cached_tokens": sum(each.cached_tokens for each in first)},
        }
        return [{**self._head, "choices": [], "usage": usage}]

    def _prompt(self, number: int) -> str:
        prompt = self._parsed.prompts[number // self._parsed.num_candidates]
        assert isinstance(prompt, str), "ids are not echoed"
        return prompt

    def _scored(self, scored: Sequence[TokenLogprob], at: int) -> Json | None:
        """Return log probabilities in OpenAI's legacy form: one list per column."""
        if not scored:
            return None
        offsets = []
        for each in scored:
            offsets.append(at)
            at += len(each.token)
        return {
            "tokens": [each.token for each in scored],
            "token_logprobs": [max(each.logprob, LEAST_LOGPROB) for each in scored],
            "top_logprobs": [
                {one.token: max(one.logprob, LEAST_LOGPROB) for one in reversed(each.top)}
                for each in scored
            ],
            "text_offset": offsets,
        }

    def _chunk(
        self,
        number: int,
        text: str,
        *,
        logprobs: Json | None = None,
        finish_reason: str | None = None,
    ) -> Json:
        self._lengths[number] += len(text)
        choice = {
            "index": number,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return {**self._head, "choices": [choice], **self._tail}


@dataclass(slots=True)
class CompletionFold:
    """Folds chunks to a whole completion."""

    parsed: ParsedCompletionRequest
    _texts: dict[int, list[str]] = field(default_factory=dict)
    _columns: dict[int, dict[str, list[Any]]] = field(default_factory=dict)
    _ends: dict[int, str] = field(default_factory=dict)
    _usage: Json = field(default_factory=dict)

    def add(self, chunk: Json) -> None:
        """Add the next chunk."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            number = choice["index"]
            self._texts.setdefault(number, []).append(choice["text"])
            columns = self._columns.setdefault(number, {})
            for name, column in (choice["logprobs"] or {}).items():
                columns.setdefault(name, []).extend(column)
            if choice["finish_reason"]:
                self._ends[number] = choice["finish_reason"]

    def answer(self, head: Mapping[str, Any]) -> Json:
        """Return the text_completion object, with the most likely candidates of each prompt."""
        parsed = self.parsed
        chosen: list[int] = []
        for first in range(0, len(self._ends), parsed.num_candidates):
            rivals = sorted(range(first, first + parsed.num_candidates), key=self._mean_nll)
            chosen += sorted(rivals[: parsed.num_choices])
        choices = [self._choice(index, number) for index, number in enumerate(chosen)]
        return {**head, "choices": choices, "usage": self._usage}

    def _mean_nll(self, number: int) -> float:
        """Mean negative log probability of its tokens; infinity without tokens."""
        scores = self._columns[number].get("token_logprobs")
        return -math.fsum(scores) / len(scores) if scores else math.inf

    def _choice(self, index: int, number: int) -> Json:
        columns = self._columns[number] if self.parsed.shows_logprobs else {}
        return {
            "index": index,
            "text": "".join(self._texts[number]),
            "logprobs": columns or None,
            "finish_reason": self._ends[number],
        }
