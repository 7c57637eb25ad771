"""Constrained decoding of a turn: harmony grammar, content grammars, reasoning budget.

Knows ids and counts; output_parser.py parses the text.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ossia.chat.request import TurnRequest
from ossia.errors import RequestError
from ossia.grammar.content import ContentGrammar, ContentMatcher, GrammarCompiler
from ossia.harmony.messages import FunctionTool
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import ContentDelta, HarmonyEvent, MessageStarted

MAX_RESERVE = 1024
"""Tokens reserved for the answer at a length limit: a quarter of it, at most this many."""

MAX_COMPILE_SECONDS = 15.0
"""For all tools of one request: a hundred take 0.5 s, while other requests wait."""

MAX_PERIOD = 256
MIN_REPEATS = 4
MIN_LOOP_TOKENS = 256
CHECK_EVERY = 16
"""Tokens between two checks for a loop."""


class OutputConstraint:
    """The `Constraint` of a turn: the token ids allowed or forced next."""

    closed_because: Literal["budget", "loop", "length"] | None
    """Why reasoning was ended early; None if it was not."""

    def __init__(
        self,
        grammar: OutputGrammar,
        *,
        max_analysis: int | None,
        max_tokens: int,
        content_grammars: Mapping[str | None, ContentGrammar] | None = None,
    ) -> None:
        """Start at the beginning of the output.

        Args:
            grammar: the automaton for this request.
            max_analysis: limit of reasoning tokens; 0: no reasoning. None: no limit.
            max_tokens: of the whole answer.
            content_grammars: by full recipient; None is the final answer.
                Content without an entry is free text.
        """
        self._grammar = grammar
        self._state = grammar.start
        self._content_grammars = content_grammars or {}
        self._matcher: ContentMatcher | None = None
        self._left = max_analysis
        self._reserve = min(MAX_RESERVE, max_tokens // 4)
        self._loop_detector = LoopDetector()
        self._is_looping = False
        self.closed_because = None
        if max_analysis == 0:
            self._state = grammar.without_analysis(self._state)

    def allowed(self) -> tuple[int, ...] | NDArray[np.bool_] | None:
        """Ids that both the output grammar and the content's grammar allow."""
        legal = self._grammar.legal(self._state)
        if self._matcher is None:
            return legal.mask() if legal.is_content else legal.ids
        mask_V = self._matcher.mask() & legal.mask()
        if self._matcher.may_end:
            mask_V[list(legal.ids)] = True
        return mask_V

    def accept(self, token_id: int) -> None:
        """Advance by a token, sampled or forced.

        Raises:
            ValueError: the id is not allowed; `allowed` should have prevented it.
        """
        state, events = self._grammar.step(self._state, token_id)
        if self._grammar.in_analysis(self._state):
            self._count(token_id)
        if self._matcher is not None:
            self._write(self._matcher, token_id)
        self._state = state
        self._follow(events)

    def forced(self, tokens_left: int) -> Sequence[int]:
        """Ids that end complete content or reasoning over budget, or that complete a header.

        Reasoning is closed with the whole opener of the answer: after END alone the model would
        open the next analysis message.
        """
        if self._matcher is not None:
            return self._grammar.legal(self._state).ids if self._matcher.must_end else ()
        closing = self._grammar.close_analysis(self._state)
        if why := self._why_close(closing, tokens_left):
            self._state = self._grammar.without_analysis(self._state)
            if closing:
                self.closed_because = why
                return closing
        return self._grammar.forced(self._state)

    @property
    def finished(self) -> bool:
        """Whether the output is complete."""
        return self._grammar.is_done(self._state)

    def _why_close(
        self, closing: Sequence[int], tokens_left: int
    ) -> Literal["budget", "loop", "length"] | None:
        """Return the reason to end reasoning now, or None."""
        if self._left is not None and self._left <= 0:
            return "budget"
        if self._is_looping:
            return "loop"
        if closing and tokens_left <= self._reserve + len(closing):
            return "length"
        return None

    def _count(self, token_id: int) -> None:
        """Add a token of reasoning."""
        if self._left is not None:
            self._left -= 1
        self._is_looping = self._is_looping or self._loop_detector.push(token_id)

    def _write(self, matcher: ContentMatcher, token_id: int) -> None:
        if token_id not in self._grammar.legal(self._state).ids:
            matcher.accept(token_id)
        elif not matcher.may_end:
            raise ValueError(f"id {token_id} ends content that is not whole")

    def _follow(self, events: Sequence[HarmonyEvent]) -> None:
        """Start a grammar at the start of its content, and drop it at the end."""
        for event in events:
            if isinstance(event, MessageStarted):
                grammar = self._grammar_of(event)
                self._matcher = grammar.start() if grammar is not None else None
            elif not isinstance(event, ContentDelta):  # MessageEnded
                self._matcher = None

    def _grammar_of(self, opened: MessageStarted) -> ContentGrammar | None:
        if opened.recipient is not None or opened.channel == "final":
            return self._content_grammars.get(opened.recipient)
        return None


class LoopDetector:
    """Detects repetition loops from token ids alone.

    A loop is a block of at most 256 tokens, repeated at least four times in a row over at least 256
    tokens: enumerations and tables vary between entries, and short repetitions soon end.
    """

    def __init__(self) -> None:
        self._latest: list[int] = []
        self._count = 0

    def push(self, token_id: int) -> bool:
        """Add a token; at every sixteenth, return whether the text loops."""
        self._latest.append(token_id)
        self._count += 1
        if self._count % CHECK_EVERY or self._count < MIN_LOOP_TOKENS:
            return False
        del self._latest[: -MIN_REPEATS * MAX_PERIOD]
        return any(map(self._repeats, self._likely_periods()))

    def _likely_periods(self) -> list[int]:
        """Return the periods at which the two latest ids occurred before."""
        last, before = self._latest[-1], self._latest[-2]
        earlier = zip(self._latest[-2 : -2 - MAX_PERIOD : -1], self._latest[-3::-1], strict=False)
        return [period for period, (a, b) in enumerate(earlier, 1) if a == last and b == before]

    def _repeats(self, period: int) -> bool:
        """Whether the text ends in a block of this many tokens, repeated often enough."""
        ids, span = self._latest, max(MIN_LOOP_TOKENS, MIN_REPEATS * period)
        return len(ids) >= span and ids[-span:-period] == ids[period - span :]


def compile_grammars(
    request: TurnRequest, grammars: GrammarCompiler
) -> dict[str | None, ContentGrammar]:
    """Compile the grammars of each tool's arguments and of the answer; may be slow.

    Returns:
        Grammars by full recipient, the answer's under None; absent means free text.

    Raises:
        RequestError: a strict schema or a grammar is unsupported; `param` is its path.
    """
    may_be_called, paths = request.rules.callable, request.schema_paths
    deadline = time.monotonic() + MAX_COMPILE_SECONDS
    compiled: dict[str | None, ContentGrammar] = {}
    for name, tool in request.tools.items():
        if name not in may_be_called:
            continue
        if time.monotonic() > deadline:
            raise RequestError(
                "the schemas of the tools take too long to compile together; simplify them or "
                "offer fewer tools",
                param="tools",
                code="invalid_json_schema",
            )
        if grammar := _compile_arguments(tool, grammars, paths.get(tool.name)):
            compiled[name] = grammar
    if request.answer is not None:
        compiled[None] = grammars.compile(
            request.answer.schema,
            path=paths.get("", "response_format.json_schema.schema"),
            strict=request.answer.strict,
        )
    return compiled


def _compile_arguments(
    tool: FunctionTool, grammars: GrammarCompiler, path: str | None
) -> ContentGrammar | None:
    """Compile the grammar of a tool's arguments; None for any text."""
    if tool.input_format == "json":
        return grammars.compile(
            tool.parameters,
            path=path or f"tools.{tool.name}.parameters",
            strict=tool.strict,
            only_objects=True,
        )
    if tool.grammar is None:
        return None
    return grammars.compile_text(*tool.grammar, path=path or f"tools.{tool.name}.format.definition")
