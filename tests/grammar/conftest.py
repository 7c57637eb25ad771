"""A vocabulary of bytes, one process of trials for all tests, and texts written under a grammar."""

import json

import numpy as np
import pytest

from ossia.grammar.content import GrammarCompiler
from ossia.grammar.trial import Trial

BYTES = [bytes([byte]) for byte in range(256)]


def is_whole(grammar, text):
    """Whether a text ends where it may, each of its bytes legal in its place."""
    matcher = grammar.start()
    for byte in text.encode():
        if not matcher.mask()[byte]:
            return False
        matcher.accept(byte)
    return matcher.may_end


@pytest.fixture(scope="session")
def trial():
    with Trial() as one:
        yield one


@pytest.fixture(scope="session")
def grammars(trial):
    with GrammarCompiler(lambda: BYTES, vocab_size=260, trial=trial) as one:
        yield one


@pytest.fixture(scope="session")
def accepts(grammars):
    """Whether a text is whole content under a schema."""

    return lambda schema, text: is_whole(grammars.compile(schema), text)


@pytest.fixture(scope="session")
def written(grammars):
    """Random whole content under a schema, or None if it did not end in time."""

    def write(schema, seed, *, max_tokens=2000):
        rng = np.random.default_rng(seed)
        matcher = grammars.compile(schema).start()
        text = bytearray()
        closing = list(b'"}]')
        while len(text) < max_tokens:
            if matcher.may_end and (matcher.must_end or rng.random() < 0.3):
                return json.loads(text.decode())
            legal = np.flatnonzero(matcher.mask())
            ends = [byte for byte in closing if byte in legal]
            chosen = int(rng.choice(ends if ends and rng.random() < 0.3 else legal))
            matcher.accept(chosen)
            text.append(chosen)
        return None

    return write
