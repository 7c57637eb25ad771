"""Compiles schemas and grammars to matchers: the only file that calls the compiler.

Independent of requests and processes; a fault is one word, never the grammar library's text.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from ossia.grammar.keywords import REF, Part, Steps, children, target

Fault = Literal["empty", "pattern", "counts", "overlap", "complex", "unreadable"]

WHITE_SPACE = r"( |\n {0,32})"
"""Between the parts of a value at most one of these: compact or indented, never endless."""

# Escapes with a letter alone: a key spelt \u0061 would slip past the properties named a.
_WRITING = {
    "whitespace_pattern": WHITE_SPACE,
    "json_allowed_escapes": 'nrbtf\\"',
    "coerce_one_of": True,  # a checked schema's cases exclude each other
}
# Every legal token may come, not just the one the engine would have written.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
_WHOLE = f"{_OPTIONS}start: @content\n"
_PLACE = re.compile(r"(?:at )?(\d+)\(\d+\):")
_LEGAL = b"\xc8"
_REHEARSED_TOKENS = 24
_REHEARSAL_SECONDS = 0.5
"""Limit of CPU time, not wall time, so that a busy machine refuses nothing."""
_MAX_PROBES = 400
_BLAME_SECONDS = 0.5


class _Tokens:
    """The vocabulary as the grammar library needs it; it never encodes text."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes | None], vocab_size: int) -> None:
        known = list(tokens[:vocab_size])
        known += [None] * (vocab_size - len(known))
        self.special_token_ids = [at for at, token in enumerate(known) if not token]
        if not self.special_token_ids:
            raise ValueError("every id of the vocabulary is text; expected one to end with")
        self.eos_token_id = self.special_token_ids[0]
        self.tokens = [token or b"" for token in known]

    def __call__(self, text: object) -> list[int]:
        """Encode nothing."""
        raise NotImplementedError("the grammar asked for an encoding, though nothing is forced")


def llguidance_tokenizer(tokens: Sequence[bytes | None], vocab_size: int) -> LLTokenizer:
    """The engine's view of a vocabulary; about a second for 200,000 ids.

    Args:
        tokens: bytes of each id in order, None for control ids and gaps.
        vocab_size: rows of the model's table, [V].

    Raises:
        ValueError: no id is left to stand for the end.
    """
    wrapped: Any = _Tokens(tokens, vocab_size)
    return LLTokenizer(wrapped, slices=LLTokenizer.json_slices())


def byte_tokenizer() -> LLTokenizer:
    """One token a byte and one for the end: enough to try a schema, since cost is in the schema."""
    return llguidance_tokenizer([bytes([byte]) for byte in range(256)], 257)


def matcher_of(tokenizer: LLTokenizer, schema_text: str) -> LLMatcher | Fault:
    """Compile a checked schema, or a grammar of text, and rehearse it, or say what fault it has."""
    checked = json.loads(schema_text)
    matcher = _compiled(tokenizer, checked)
    if matcher.is_error():
        message = matcher.get_error()
        return _kind_of_text(message) if "lark" in checked else _kind(message)
    return _rehearse(matcher.deep_copy(), tokenizer.eos_token) or matcher


def _compiled(tokenizer: LLTokenizer, checked: Mapping[str, Any]) -> LLMatcher:
    if "lark" in checked:
        grammars = [{"lark_grammar": _OPTIONS + checked["lark"]}]
    else:
        content = {"name": "content", "json_schema": {**checked, "x-guidance": _WRITING}}
        grammars = [{"lark_grammar": _WHOLE}, content]
    grammar = json.dumps({"grammars": grammars})
    return LLMatcher(tokenizer, grammar, log_level=0, limits=_limits())


def _limits() -> LLParserLimits:
    """Bounds in the engine itself: the costliest mask stays near 100 ms, a grammar near 40 MB."""
    return LLParserLimits(
        max_items_in_row=8_000,
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=1_000_000,
        step_max_items=200_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


def _kind(message: str) -> Fault:
    """Classify an error of the grammar library."""
    faults: Mapping[str, Fault] = {
        "Unsatisfiable": "empty",
        "maxProperties": "counts",
        "disjoint": "overlap",
        "Unable to determine": "complex",
        "egex": "pattern",
        "lookaround": "pattern",
    }
    return next((kind for words, kind in faults.items() if words in message), "complex")


def _kind_of_text(message: str) -> Fault:
    """Classify an error of a grammar of text; the message may quote the grammar."""
    if "invalid regex" in message[:60]:
        return "pattern"
    is_syntax = _PLACE.match(message) or message.startswith("no start rule")
    return "unreadable" if is_syntax and "deeply nested" not in message[:60] else "complex"


def _rehearse(matcher: LLMatcher, end: int) -> Fault | None:
    """Match a few tokens, to detect a grammar that is too costly."""
    deadline = time.thread_time() + _REHEARSAL_SECONDS
    for step in range(_REHEARSED_TOKENS):
        legal = matcher.compute_logit_bias()
        if matcher.is_error() or time.thread_time() > deadline:
            return "empty" if "NoExtension" in matcher.get_error() else "complex"
        chosen = _some_legal(legal, 7919 * (step + 1) % len(legal), end)
        if chosen is None:
            return None if matcher.is_accepting() else "empty"
        matcher.consume_token(chosen)
    return None


def _some_legal(legal: bytes, near: int, end: int) -> int | None:
    """A legal id near a position, but not the end id."""
    for found in (legal.find(_LEGAL, near), legal.rfind(_LEGAL, 0, near), legal.find(_LEGAL)):
        if found not in (end, -1):
            return found
    return None


def blamed(tokenizer: LLTokenizer, schema_text: str, fault: Fault) -> Steps:
    """Where the fault is: the steps among the definitions to the smallest part that has it.

    Of a grammar of text: the number of the line, or nothing.
    """
    checked = json.loads(schema_text)
    if "lark" in checked:
        return _line(tokenizer, checked)
    defs: dict[str, Part] = checked["$defs"]
    deadline = time.thread_time() + _BLAME_SECONDS
    num_probes = 0
    steps: Steps = ("0",)
    part = defs["0"]
    seen = {"0"}
    while isinstance(part, dict):
        for found, child in _inside(defs, steps, part, seen):
            num_probes += 1
            if num_probes > _MAX_PROBES or time.thread_time() > deadline:
                return steps
            # what led here is let pass: a part is not at fault for leading back
            around: dict[str, Part] = {**defs, **dict.fromkeys(seen, True), "probe": child}
            probe = {"$ref": f"{REF}probe", "$defs": around}
            if matcher_of(tokenizer, json.dumps(probe)) == fault:
                steps, part = found, child
                break
        else:
            return steps + _keyword(part, fault)
        seen.add(str(steps[0]))
    return steps


def _line(tokenizer: LLTokenizer, checked: Mapping[str, Any]) -> Steps:
    place = _PLACE.match(_compiled(tokenizer, checked).get_error())
    return (int(place[1]) - _OPTIONS.count("\n"),) if place else ()


def _inside(
    defs: Mapping[str, Part], steps: Steps, part: Mapping[str, Any], seen: set[str]
) -> list[tuple[Steps, Part]]:
    """The schemas inside a part, and what it refers to, which is only followed once."""
    found = [((*steps, *more), child) for more, child in children(part)]
    reached = target(part)
    if reached is not None and reached not in seen:
        found.append(((reached,), defs[reached]))
    return [(place, child) for place, child in found if isinstance(child, dict)]


def _keyword(part: Mapping[str, Any], fault: Fault) -> Steps:
    """The keyword a fault is about, where the part has it."""
    about: Mapping[Fault, str] = {
        "pattern": "pattern",
        "complex": "pattern",
        "counts": "maxProperties",
        "overlap": "patternProperties",
    }
    keyword = about.get(fault)
    return (keyword,) if keyword is not None and keyword in part else ()
