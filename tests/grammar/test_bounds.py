"""Numbers near the bounds of a schema: what is accepted fits, by exact decimal arithmetic."""

import random
from decimal import Decimal, localcontext
from itertools import product

import pytest

from ossia.grammar.compiling import byte_tokenizer, matcher_of
from ossia.grammar.json_schema import checked

STEPS = ("0", "1", "0.1", "0.001", "1e-13")


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def bounded(rng):
    def number():
        places = rng.randint(0, 6)
        return rng.choice(
            (0, -0.0, 1, 0.5, 1e-12, rng.randint(-99, 99), round(rng.uniform(-2, 2), places),
             round(rng.uniform(-1e6, 1e6), places), rng.randint(-(2**53), 2**53))
        )  # fmt: skip

    low, high = sorted((number(), number()))
    schema = {"type": rng.choice(("number", "integer"))}
    if rng.random() < 0.8:
        schema[rng.choice(("minimum", "exclusiveMinimum"))] = low
    if rng.random() < 0.8:
        schema[rng.choice(("maximum", "exclusiveMaximum"))] = high
    if rng.random() < 0.3:
        schema["multipleOf"] = rng.choice((2, 7, 0.1, 0.25, 0.003))
    return schema, (low, high, 0)


def literals(numbers):
    for number, step, sign in product(numbers, STEPS, (1, -1)):
        text = format(Decimal(repr(number)) + sign * Decimal(step), "f")
        yield from (text, text + ("0" if "." in text else ".0"))
        yield text.removeprefix("-") if text.startswith("-") else f"-{text}"


def fits(schema, value):
    known = {key: Decimal(repr(one)) for key, one in schema.items() if key != "type"}
    return (
        value >= known.get("minimum", value)
        and value <= known.get("maximum", value)
        and value != known.get("exclusiveMinimum")
        and value >= known.get("exclusiveMinimum", value)
        and value != known.get("exclusiveMaximum")
        and value <= known.get("exclusiveMaximum", value)
        and value % known.get("multipleOf", Decimal("1e-20")) == 0
        and (schema["type"] == "number" or value == int(value))
    )


@pytest.mark.parametrize("seed", range(60))
def test_what_is_accepted_near_a_bound_fits(tokenizer, seed):
    schema, numbers = bounded(random.Random(seed))
    matcher = matcher_of(tokenizer, checked(schema, path="").text)
    if matcher == "empty":
        return
    with localcontext(prec=80):
        for text in literals(numbers):
            tried = matcher.deep_copy()
            whole = tried.try_consume_tokens(list(text.encode())) == len(text)
            if whole and tried.is_accepting():
                assert fits(schema, Decimal(text)), (schema, text)
