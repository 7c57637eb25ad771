"""What a hostile client may send as a schema: each is refused or held, and nothing is harmed."""

import sys
import time

import pytest

from ossia.errors import RequestError
from ossia.grammar.content import MAX_CACHED_BYTES, MAX_GRAMMARS, GrammarCompiler

BYTES = [bytes([byte]) for byte in range(256)]
SCHEMA = "text.format.schema"


def pattern(text):
    return {"type": "object", "properties": {"p": {"type": "string", "pattern": text}}}


def nested(wrap, levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = wrap(schema)
    return schema


REFUSED = {
    "30,000 parentheses": (pattern("(" * 30_000 + "a" + ")" * 30_000), "properties.p.pattern"),
    "deep parentheses": (pattern("(" * 201 + "a" + ")" * 201), "properties.p.pattern"),
    "nested properties": (nested(lambda one: {"properties": {"a": one}}, 10_000), ""),
    "nested anyOf": (nested(lambda one: {"anyOf": [one]}, 10_000), ""),
    "nested items": (nested(lambda one: {"items": one}, 10_000), ""),
    "invalid": (pattern("[a"), "properties.p.pattern"),
    "look-behind": (pattern("(?<=a)b"), "properties.p.pattern"),
    "back-reference": (pattern(r"(a)\1"), "properties.p.pattern"),
    "remote": ({"$ref": "https://example.org/schema.json"}, "$ref"),
    "file": ({"$ref": "file:///etc/passwd"}, "$ref"),
    "itself": ({"$ref": "#"}, ""),
    "itself by way of another": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "$defs.a",
    ),
    "nothing": ({"$ref": "#/$defs/none"}, "$ref"),
    "maxLength": ({"type": "string", "maxLength": 2**31}, "maxLength"),
    "minItems": ({"type": "array", "minItems": 10**9}, "minItems"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_at_the_door_at_once(grammars, case):
    schema, where = REFUSED[case]
    started = time.thread_time()
    with pytest.raises(RequestError) as caught:
        grammars.compile(schema, path=SCHEMA)
    assert time.thread_time() - started < 0.5
    assert caught.value.code == "invalid_json_schema"
    assert caught.value.param == (f"{SCHEMA}.{where}" if where else SCHEMA)
    assert len(str(caught.value)) < 200
    assert "0x" not in str(caught.value)
    assert "at /" not in str(caught.value)


@pytest.mark.parametrize("text", ["(a+)+$", "(x{1,1000}){1,1000}", "^(x{1,1000}){1,1000}$"])
def test_repeats_inside_repeats_are_held_in_linear_time(grammars, text):
    matcher = grammars.compile(pattern(text), path=SCHEMA).start()
    started = time.thread_time()
    for byte in b'{"p":"' + b"xa" * 200:
        if not matcher.mask()[byte]:
            break
        matcher.accept(byte)
    assert time.thread_time() - started < 2


@pytest.mark.skipif(sys.platform != "linux", reason="counts kibibytes")
def test_many_different_schemas_leave_memory_in_bounds(trial):
    resource = pytest.importorskip("resource")
    with GrammarCompiler(lambda: BYTES, vocab_size=257, trial=trial) as one:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for limit in range(300):
            one.compile({"type": "string", "maxLength": limit}, path=SCHEMA)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert len(one._cache) <= MAX_GRAMMARS
        assert one._cached_bytes <= MAX_CACHED_BYTES
    assert grown < 64 << 10  # kibibytes
