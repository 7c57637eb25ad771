import json
import threading

import numpy as np
import pytest

from ossia.errors import RequestError
from ossia.grammar import compiling
from ossia.grammar import content as content_file
from ossia.grammar.content import GrammarCompiler

BYTES = [bytes([byte]) for byte in range(256)]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def write(matcher, text):
    for byte in text.encode():
        matcher.accept(byte)


def write_masked(matcher, text):
    for byte in text.encode():
        assert matcher.mask()[byte]
        matcher.accept(byte)


def test_content_may_end_only_when_it_is_whole(grammars):
    matcher = grammars.compile(PERSON).start()
    assert not matcher.may_end
    write(matcher, '{"name": "A", "age": 1')
    assert not matcher.may_end
    write(matcher, "}")
    assert matcher.may_end
    assert matcher.must_end
    assert not matcher.mask().any()


def test_a_number_may_end_and_may_go_on(grammars):
    matcher = grammars.compile({"type": "integer"}).start()
    write(matcher, "12")
    assert matcher.may_end
    assert not matcher.must_end


def test_masks_hold_text_only_and_have_the_models_rows(grammars):
    matcher = grammars.compile({"type": "integer"}).start()
    mask_V = matcher.mask()
    assert mask_V.shape == (260,)
    assert mask_V.dtype == bool
    assert bytes(np.flatnonzero(mask_V).astype(np.uint8)) == b"-0123456789"
    write(matcher, "1")
    assert not matcher.mask()[256:].any()


def test_what_is_not_legal_is_not_accepted(grammars):
    for token_id in (ord("x"), 256, 259):
        with pytest.raises(ValueError, match="does not fit"):
            grammars.compile(PERSON).start().accept(token_id)


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"A","age":1}',
        '{"name": "A", "age": 1}',
        '{ "name" : "A" , "age" : 1 }',
        '{\n  "name": "A",\n  "age": 1\n}',
    ],
)
def test_compact_and_indented_json_are_legal(accepts, text):
    assert accepts(PERSON, text)


@pytest.mark.parametrize(
    "text",
    [
        ' {"name":"A","age":1}',
        '{"name":"A","age":1} ',
        '{"name":  "A","age":1}',
        '{\n\n"name":"A","age":1}',
        '{\t"name":"A","age":1}',
        "{\n" + " " * 33 + '"name":"A","age":1}',
    ],
)
def test_white_space_is_bounded(accepts, text):
    assert not accepts(PERSON, text)


def test_a_key_cannot_be_written_twice_by_an_escape(accepts):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": {"type": "string"},
    }
    assert accepts(schema, '{"a":1,"b":"x"}')
    assert not accepts(schema, '{"a":1,"a":"x"}')
    assert not accepts(schema, '{"a":1,"\\u0061":"x"}')


def test_no_schema_is_any_object(grammars, accepts):
    assert accepts(None, '{"a":[1,{"b":null}]}')
    assert not accepts(None, "[1]")
    assert not grammars.compile(None).is_schema


def test_arguments_are_objects(grammars):
    matcher = grammars.compile({}, only_objects=True).start()
    assert bytes(np.flatnonzero(matcher.mask()).astype(np.uint8)) == b"{"


def test_what_cannot_be_honoured_is_refused_if_strict_else_any_object(grammars):
    for schema in ({"not": {}}, {"type": "integer", "minimum": 2, "maximum": 1}, []):
        with pytest.raises(RequestError) as caught:
            grammars.compile(schema, path="tools[1].parameters")
        assert caught.value.param.startswith("tools[1].parameters")
        loose = grammars.compile(schema, strict=False)
        assert loose is grammars.any_object()
        assert not loose.is_schema


def test_matchers_of_one_grammar_are_independent(grammars):
    one, two = grammars.compile(PERSON).start(), grammars.compile(PERSON).start()
    write(one, '{"name"')
    assert not two.mask()[ord("n")]
    assert two.mask()[ord("{")]


def test_the_same_schema_is_compiled_once(grammars):
    assert grammars.compile(PERSON) is grammars.compile({**PERSON, "title": "other"})


def test_ten_thousand_schemas_are_kept_in_bounds(trial, monkeypatch):
    monkeypatch.setattr(content_file, "MAX_GRAMMARS", 8)
    with GrammarCompiler(lambda: BYTES, vocab_size=257, trial=trial) as one:
        for limit in range(200):
            one.compile({"type": "string", "maxLength": limit, "minLength": limit // 2})
            assert len(one._cache) <= 8
        monkeypatch.setattr(content_file, "MAX_CACHED_BYTES", 200)
        one.compile({"type": "boolean"})
        assert one._cached_bytes == sum(size for size, _ in one._cache.values()) <= 200


def test_threads_compile_and_start_together(grammars):
    faults = []

    def work(seed):
        try:
            for limit in range(5):
                matcher = grammars.compile({"type": "string", "maxLength": 50 + limit}).start()
                write(matcher, f'"{seed}"')
                assert matcher.must_end
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_an_own_trial_is_closed_with_the_grammars():
    with GrammarCompiler(lambda: BYTES, vocab_size=257) as one:
        one.warm()
        one.compile({"type": "string"})
        process = one._trial._judges[0].process
    assert process.poll() is not None


class _Lenient:
    """A trial that lets all pass, as one of another vocabulary might."""

    def judge(self, schema):
        pass

    def close(self):
        raise AssertionError("the owner closes it")


def test_what_only_this_vocabulary_finds_too_costly_is_refused_by_its_place():
    schema = {"items": {"type": "string", "pattern": "a^b"}}
    with GrammarCompiler(lambda: BYTES, vocab_size=257, trial=_Lenient()) as one:
        with pytest.raises(RequestError) as caught:
            one.compile(schema, path="s")
        assert caught.value.param == "s.items.pattern"


def test_a_schema_too_costly_in_the_middle_of_an_answer_says_so(monkeypatch):
    monkeypatch.setattr(compiling, "_REHEARSED_TOKENS", 0)
    pattern = "^" + "a?" * 2000 + "a" * 2000 + "$"
    with GrammarCompiler(lambda: BYTES, vocab_size=257, trial=_Lenient()) as one:
        matcher = one.compile({"type": "string", "pattern": pattern}).start()
        matcher.accept(ord('"'))
        with pytest.raises(RequestError, match="too complex while"):
            write_masked(matcher, "a" * 50)


def test_everything_written_is_json_that_fits(written):
    for seed in range(20):
        found = written({**PERSON, "additionalProperties": {"type": "boolean"}}, seed)
        if found is not None:
            assert isinstance(found["age"], int)
            assert json.dumps(found)
