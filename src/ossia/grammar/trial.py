"""Tries a schema in a process of its own, which is killed if it takes too long.

Turns a verdict into an error of the request; `judge.py` compiles, in that process.
"""

import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, Self

from ossia.errors import RequestError
from ossia.grammar.json_schema import CheckedSchema
from ossia.grammar.refusal import refusal
from ossia.grammar.text_grammar import CheckedText
from ossia.processes import kill_group, spawn_module

SECONDS = 2.0
MEGABYTES = 512
"""Limit of address space; the process itself takes a quarter of it."""
MAX_VERDICTS = 4096

_START_SECONDS = 30.0
_WORDS: Mapping[str, str] = {
    "empty": "no value satisfies this part of the schema; loosen or correct it",
    "pattern": "this pattern cannot be enforced; use anchors only at its ends, and no look-around",
    "counts": "a number of properties can be enforced only where all those named are required",
    "overlap": "these patternProperties overlap, or cannot be told apart; make them exclusive",
    "complex": "this part of the schema is too complex to enforce; simplify it",
    "killed": "the schema takes too long or too much memory to compile; simplify it",
}


def refuse(
    fault: str, schema: CheckedSchema | CheckedText, steps: Sequence[str | int]
) -> RequestError:
    """The error for a kind of fault in one part of a schema, or in a grammar of text."""
    if isinstance(schema, CheckedText):
        return schema.refused(fault, steps)
    return refusal(_WORDS[fault], schema.where(steps))


@dataclass(frozen=True, slots=True)
class _Verdict:
    fault: str | None
    steps: tuple[str | int, ...] = ()


class _Judge:
    """A running process and the thread that reads its answers."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        self.process = spawn_module("ossia.grammar.judge", str(seconds), str(megabytes))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._questions = self.process.stdin
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._listener = threading.Thread(
            target=_listen, args=(self.process.stdout, self._answers), daemon=True
        )
        self._listener.start()

    def ask(self, text: str, seconds: float) -> _Verdict | None:
        """Try one schema; None if the process died or ran out of time."""
        try:
            self._questions.write(json.dumps(text).encode() + b"\n")
            self._questions.flush()
            answer = self._answers.get(timeout=seconds)
        except (BrokenPipeError, Empty):
            return None
        if not answer:
            return None
        fault, steps = json.loads(answer)
        return _Verdict(fault, tuple(steps))

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        kill_group(self.process)
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # nobody is there for what is unsent
                pipe.close()


def _listen(answers: IO[bytes], heard: SimpleQueue[bytes]) -> None:
    """Pass each line on; an empty one when there will be no more."""
    for line in answers:
        heard.put(line)
    heard.put(b"")


class Trial:
    """Tries schemas, one at a time, from any thread; starts its process at first use."""

    def __init__(self, *, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> None:
        """Set the limits of one schema's trial; no process starts yet."""
        self._seconds = seconds
        self._megabytes = megabytes
        self._asking = threading.Lock()
        self._verdicts: OrderedDict[str, _Verdict] = OrderedDict()
        self._judges: list[_Judge] = []  # one or none; a list, so that the finalizer sees it
        self._close = weakref.finalize(self, _end_all, self._judges)

    def judge(self, schema: CheckedSchema | CheckedText) -> None:
        """Return if the schema can be held; waits for the limit of seconds at most, and its turn.

        Raises:
            RequestError: it cannot; names the place.
        """
        verdict = self._verdict(schema)
        if verdict.fault is not None:
            raise refuse(verdict.fault, schema, verdict.steps)

    def _verdict(self, schema: CheckedSchema | CheckedText) -> _Verdict:
        digest = schema.digest
        with self._asking:
            known = self._verdicts.pop(digest, None) or self._ask(schema.text)
            if known.fault != "killed":  # another day the machine may be less busy
                self._verdicts[digest] = known
            if len(self._verdicts) > MAX_VERDICTS:
                self._verdicts.popitem(last=False)
            return known

    def _ask(self, text: str) -> _Verdict:
        if self._judges and self._judges[0].process.poll() is not None:
            _end_all(self._judges)  # killed by somebody else: not this schema's fault
        if not self._judges:
            self._judges.append(self._started())
        if verdict := self._judges[0].ask(text, self._seconds):
            return verdict
        _end_all(self._judges)
        return _Verdict("killed")

    def _started(self) -> _Judge:
        """Start a process and wait until it is ready, so that no schema pays for the start."""
        judge = _Judge(self._seconds, self._megabytes)
        if judge.ask(json.dumps({"$ref": "#/$defs/0", "$defs": {"0": {}}}), _START_SECONDS):
            return judge
        judge.end()
        raise RuntimeError("the process that tries schemas did not start; is llguidance installed?")

    def close(self) -> None:
        """End the process; a later trial starts another."""
        with self._asking:
            _end_all(self._judges)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()


def _end_all(judges: list[_Judge]) -> None:
    while judges:
        judges.pop().end()
