"""Constrained contents: masks of the legal next ids under a schema or grammar.

Knows a vocabulary as bytes and ids only; message headers and control tokens belong to `harmony`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ossia.errors import RequestError

if TYPE_CHECKING:  # most turns have no schema
    from llguidance import LLMatcher, LLTokenizer

    from ossia.grammar.json_schema import CheckedSchema
    from ossia.grammar.text_grammar import CheckedText
    from ossia.grammar.trial import Trial

MAX_GRAMMARS = 256
MAX_CACHED_BYTES = 4 << 20
"""Size limit of the cache of compiled grammars, in schema text."""


class ContentMatcher:
    """The state of one constrained content; for one thread at a time."""

    __slots__ = ("_bits", "_end", "_mask_V", "_matcher", "_may_end", "_must_end", "_vocab_size")

    def __init__(self, matcher: "LLMatcher", *, vocab_size: int, end: int) -> None:
        """Take over a matcher at its beginning; `end` is the id by which it means an end."""
        self._matcher = matcher
        self._end = end
        self._vocab_size = vocab_size
        self._bits = np.zeros(-(-vocab_size // 32), dtype=np.int32)
        self._mask_V: NDArray[np.bool_] | None = None
        self._may_end = self._must_end = False

    def mask(self) -> NDArray[np.bool_]:
        """Fill the mask of the legal next ids.

        Returns:
            Read-only bool array [V], the same until a token is accepted.

        Raises:
            RequestError: what may come is too much to work out, or nothing can.
        """
        return self._look() if self._mask_V is None else self._mask_V

    @property
    def may_end(self) -> bool:
        """Whether the content is complete."""
        self.mask()
        return self._may_end

    @property
    def must_end(self) -> bool:
        """Whether the content is complete and nothing can follow."""
        self.mask()
        return self._must_end

    def accept(self, token_id: int) -> None:
        """Advance by one token of text.

        Raises:
            ValueError: it is not legal here, which the mask should have prevented.
        """
        if token_id == self._end or not self._matcher.consume_token(token_id):
            raise ValueError(f"id {token_id} does not fit the grammar here")
        self._mask_V = None

    def _look(self) -> NDArray[np.bool_]:
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        bits = self._bits.view(np.uint8)
        mask_V = np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)
        mask_V[self._end] = False
        mask_V.flags.writeable = False
        self._may_end = self._matcher.is_accepting()
        self._must_end = not mask_V.any()
        if self._matcher.is_error() or (self._must_end and not self._may_end):
            from ossia.grammar.refusal import CODE

            raise RequestError(
                "the schema or grammar became too complex while it was held to; simplify it",
                code=CODE,
            )
        self._mask_V = mask_V
        return mask_V


class ContentGrammar:
    """A schema compiled for one tokenizer; shared by all contents under it."""

    def __init__(
        self, matcher: "LLMatcher", *, vocab_size: int, end: int, is_schema: bool = True
    ) -> None:
        """Take over a compiled matcher, which never moves from its beginning."""
        self._matcher = matcher
        self._copying = threading.Lock()
        self._vocab_size = vocab_size
        self._end = end
        self.is_schema = is_schema
        """Whether a schema is enforced; otherwise any JSON object is legal."""

    def start(self) -> ContentMatcher:
        """Create a matcher at the start of a content."""
        with self._copying:
            matcher = self._matcher.deep_copy()
        return ContentMatcher(matcher, vocab_size=self._vocab_size, end=self._end)


class GrammarCompiler:
    """Compiles schemas for one tokenizer and caches what it compiled; safe to share."""

    def __init__(
        self,
        token_bytes: Callable[[], Sequence[bytes | None]],
        *,
        vocab_size: int,
        trial: "Trial | None" = None,
    ) -> None:
        """Store the vocabulary; it is read at the first compilation.

        Args:
            token_bytes: gives the bytes of each id in order, None for control ids and gaps.
            vocab_size: rows of the model's table, [V].
            trial: where schemas are compiled first; its owner closes it. None: one of its own.
        """
        self._token_bytes = token_bytes
        self._vocab_size = vocab_size
        self._trial = trial
        self._owns_trial = trial is None
        self._cache: OrderedDict[str, tuple[int, ContentGrammar]] = OrderedDict()
        self._cached_bytes = 0
        self._compiling = threading.Lock()

    def compile(
        self,
        schema: object,
        *,
        path: str = "schema",
        strict: bool = True,
        only_objects: bool = False,
    ) -> ContentGrammar:
        """Compile a schema; may block for seconds, so not on the event loop.

        Args:
            schema: as parsed from JSON; None: any object.
            path: where it stands in the request, such as text.format.schema.
            strict: whether to refuse what cannot be honoured; else any object will do.
            only_objects: whether other values than objects are left out: a call's arguments.

        Raises:
            RequestError: strict, and the schema cannot be honoured; names the place.
        """
        if schema is None:
            return self.any_object()
        from ossia.grammar.json_schema import checked

        try:
            checked_schema = checked(schema, path=path, only_objects=only_objects)
            return self._grammar(checked_schema)
        except RequestError:
            if strict:
                raise
            return self.any_object()

    def compile_text(self, syntax: str, definition: str, *, path: str) -> ContentGrammar:
        """Compile a grammar for plain text; may block like `compile`.

        Args:
            syntax: lark or regex.
            definition: as the client wrote it.
            path: where it stands in the request.

        Raises:
            RequestError: it cannot be honoured.
        """
        from ossia.grammar.text_grammar import checked_text

        return self._grammar(checked_text(syntax, definition, path=path))

    def any_object(self) -> ContentGrammar:
        """A grammar of every JSON object."""
        from ossia.grammar.json_schema import checked

        return self._grammar(checked({"type": "object"}, path=""), is_schema=False)

    def warm(self) -> None:
        """Prepare, so that the first schema compiles faster."""
        self.any_object()

    def close(self) -> None:
        """End its trial process, if owned; compiled grammars stay usable."""
        if self._owns_trial and self._trial is not None:
            self._trial.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    @cached_property
    def _tokenizer(self) -> "LLTokenizer":
        from ossia.grammar.compiling import llguidance_tokenizer

        return llguidance_tokenizer(self._token_bytes(), self._vocab_size)

    def _grammar(
        self, schema: "CheckedSchema | CheckedText", *, is_schema: bool = True
    ) -> ContentGrammar:
        digest = f"{is_schema} {schema.digest}"
        with self._compiling:
            if known := self._cache.get(digest):
                self._cache.move_to_end(digest)
                return known[1]
            if self._trial is None:
                from ossia.grammar.trial import Trial

                self._trial = Trial()
        if is_schema:
            self._trial.judge(schema)
        with self._compiling:  # one at a time: each is milliseconds now
            grammar = self._compiled(schema, is_schema=is_schema)
            self._keep(digest, len(schema.text), grammar)
            return grammar

    def _compiled(
        self, schema: "CheckedSchema | CheckedText", *, is_schema: bool
    ) -> ContentGrammar:
        from ossia.grammar.compiling import blamed, matcher_of
        from ossia.grammar.trial import refuse

        matcher = matcher_of(self._tokenizer, schema.text)
        if isinstance(matcher, str):
            # this vocabulary's tokens are longer than those of the trial
            raise refuse(matcher, schema, blamed(self._tokenizer, schema.text, matcher))
        return ContentGrammar(
            matcher,
            vocab_size=self._vocab_size,
            end=self._tokenizer.eos_token,
            is_schema=is_schema,
        )

    def _keep(self, digest: str, size: int, grammar: ContentGrammar) -> None:
        twice, _ = self._cache.pop(digest, (0, grammar))  # compiled by two threads at once
        self._cache[digest] = (size, grammar)
        self._cached_bytes += size - twice
        while len(self._cache) > MAX_GRAMMARS or self._cached_bytes > MAX_CACHED_BYTES:
            _, (dropped, _) = self._cache.popitem(last=False)
            self._cached_bytes -= dropped
