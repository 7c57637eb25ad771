import json
import random
import re

import numpy as np
import pytest

from ossia import LLM, RequestError, SamplingParams
from ossia.chat import constraint as module
from ossia.chat.constraint import (
    CHECK_EVERY,
    MAX_PERIOD,
    LoopDetector,
    OutputConstraint,
    compile_grammars,
)
from ossia.chat.request import TurnRequest
from ossia.grammar.content import GrammarCompiler
from ossia.harmony.messages import FunctionTool
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import OutputRules

OPEN_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
HOSTILE = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=a)b"}}}
LONG = SamplingParams(seed=1, max_tokens=400)


@pytest.fixture
def constraint(tokenizer):
    def make(tools=(), *, max_analysis=None, max_tokens=100, content_grammars=None, **rules):
        recipients = dict.fromkeys(tools, "json")
        grammar = OutputGrammar(
            tokenizer, OutputRules(recipients=recipients, **rules), vocab_size=320
        )
        return OutputConstraint(
            grammar,
            max_analysis=max_analysis,
            max_tokens=max_tokens,
            content_grammars=content_grammars,
        )

    return make


@pytest.fixture(scope="module")
def grammars(tokenizer):
    with GrammarCompiler(tokenizer.token_bytes, vocab_size=320) as one:
        yield one


@pytest.fixture(scope="module")
def count(grammars):
    """A grammar of objects with one small whole number, n."""
    number = {"type": "integer", "minimum": 0, "maximum": 99}
    shape = {"type": "object", "properties": {"n": number}, "required": ["n"]}
    return grammars.compile({**shape, "additionalProperties": False})


def feed(constraint, ids):
    for token_id in ids:
        constraint.accept(token_id)


def test_forces_the_opener_when_reasoning_is_spent(constraint, spell):
    one = constraint(max_analysis=3)
    feed(one, spell("<|channel|>analysis<|message|>ab"))
    assert tuple(one.forced(90)) == ()
    feed(one, spell("c"))
    assert list(one.forced(90)) == spell(OPEN_FINAL)
    feed(one, spell(OPEN_FINAL + "x<|return|>"))
    assert one.finished


def test_forces_the_answer_when_the_length_limit_comes_near(constraint, spell):
    one = constraint(max_tokens=100)  # a quarter is kept back, and room for the opener
    feed(one, spell("<|channel|>analysis<|message|>a"))
    opener = len(spell(OPEN_FINAL))
    assert tuple(one.forced(25 + opener + 1)) == ()
    assert list(one.forced(25 + opener)) == spell(OPEN_FINAL)


def test_no_reasoning_at_all_forces_the_answer_at_once(constraint, spell):
    one = constraint(max_analysis=0)
    assert list(one.forced(100)) == spell("<|channel|>final<|message|>")


def test_after_spent_reasoning_no_thought_begins_again(constraint, spell, tokenizer):
    one = constraint(["functions.f"], max_analysis=1)
    feed(one, spell("<|channel|>analysis<|message|>a"))
    feed(one, one.forced(100))
    allowed = one.allowed()
    assert isinstance(allowed, np.ndarray)  # content: text, as a mask
    assert not allowed[tokenizer.ids.end]


def test_a_required_call_is_what_spent_reasoning_opens(constraint, spell):
    one = constraint(["functions.f"], max_analysis=1, choice="required")
    feed(one, spell("<|channel|>analysis<|message|>a"))
    forced = list(one.forced(100))
    expected = spell("<|end|><|start|>assistant<|channel|>commentary to=functions.f")
    assert forced == expected


def test_headers_are_few_ids_and_contents_masks(constraint, spell, tokenizer):
    one = constraint(["functions.f"])
    assert set(one.allowed()) == {tokenizer.ids.channel, *spell(" ")}
    feed(one, spell("<|channel|>final<|message|>x"))
    mask = one.allowed()
    assert mask.dtype == bool
    assert mask[tokenizer.ids.return_]
    assert mask[:256].all()
    assert mask.sum() == 257


def test_an_answer_ends_just_where_its_grammar_may(constraint, spell, tokenizer, count):
    one = constraint(content_grammars={None: count})
    feed(one, spell("<|channel|>final<|message|>"))
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    feed(one, spell('{"n":1'))
    assert not one.allowed()[tokenizer.ids.return_]
    assert tuple(one.forced(90)) == ()
    with pytest.raises(ValueError, match="not whole"):
        one.accept(tokenizer.ids.return_)
    feed(one, spell("}"))
    assert list(one.forced(90)) == [tokenizer.ids.return_]
    assert np.flatnonzero(one.allowed()).tolist() == [tokenizer.ids.return_]
    feed(one, one.forced(90))
    assert one.finished


def test_an_answer_that_may_go_on_is_not_ended_by_force(constraint, spell, tokenizer, grammars):
    one = constraint(content_grammars={None: grammars.compile({"type": "integer"})})
    feed(one, spell("<|channel|>final<|message|>12"))
    mask = one.allowed()
    assert mask[tokenizer.ids.return_]
    assert mask[ord("3")]
    assert not mask[ord("x")]
    assert tuple(one.forced(90)) == ()


def test_each_recipient_has_its_own_grammar(constraint, spell, tokenizer, count):
    content_grammars = {"functions.f": count}
    one = constraint(["functions.f"], content_grammars=content_grammars)
    feed(one, spell("<|channel|>commentary to=functions.f<|message|>"))
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    feed(one, spell('{"n":12}'))
    assert list(one.forced(90)) == [tokenizer.ids.call]


def test_thoughts_preambles_and_unnamed_contents_stay_free(constraint, spell, count):
    free = spell("<|channel|>commentary to=functions.g<|message|>x")
    one = constraint(
        ["functions.f", "functions.g"], content_grammars={None: count, "functions.f": count}
    )
    feed(one, spell("<|channel|>analysis<|message|>free<|end|>"))
    feed(one, spell("<|start|>assistant<|channel|>commentary<|message|>free<|end|>"))
    feed(one, spell("<|start|>assistant"))
    feed(one, free)
    assert one.allowed()[:256].all()


def test_what_does_not_fit_the_grammar_is_not_accepted(constraint, spell, count):
    one = constraint(content_grammars={None: count})
    feed(one, spell("<|channel|>final<|message|>"))
    with pytest.raises(ValueError, match="does not fit"):
        feed(one, spell("x"))


def test_the_final_header_begins_constrained_content(constraint, spell, count):
    header = spell("<|channel|>final<|message|>")
    one = constraint(content_grammars={None: count})
    feed(one, header)
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    free = constraint()
    feed(free, [*header, *spell("{")])
    assert free.allowed()[:256].all()


def test_looping_reasoning_is_closed(constraint, spell):
    one = constraint(max_tokens=4000)
    feed(one, spell("<|channel|>analysis<|message|>" + "wait, no. " * 25 + "wait,"))
    assert tuple(one.forced(3000)) == ()
    feed(one, spell(" no. wait, no. wait,"))
    assert one.closed_because is None
    assert list(one.forced(3000)) == spell(OPEN_FINAL)
    assert one.closed_because == "loop"


def test_tells_why_reasoning_was_closed(constraint, spell):
    spent, late, free = constraint(max_analysis=1), constraint(max_tokens=100), constraint()
    for one in (spent, late, free):
        feed(one, spell("<|channel|>analysis<|message|>a"))
    assert [bool(spent.forced(90)), bool(late.forced(30)), bool(free.forced(90))] == [1, 1, 0]
    assert [one.closed_because for one in (spent, late, free)] == ["budget", "length", None]


def test_no_reasoning_from_the_start_is_nothing_closed(constraint, spell):
    one = constraint(max_analysis=0)
    feed(one, one.forced(100))
    assert one.closed_because is None


def detected_at(ids):
    """How many ids it took, or None."""
    detector = LoopDetector()
    return next((count for count, one in enumerate(ids, start=1) if detector.push(one)), None)


@pytest.mark.parametrize(
    ("period", "tokens"), [(1, 256), (3, 256), (64, 256), (65, 260), (256, 1024)]
)
@pytest.mark.parametrize("before", [0, 50, 3000])
def test_detects_four_repeats_over_256_tokens(period, tokens, before):
    block = [10_000 + place for place in range(period)]
    found = detected_at([*range(before), *block * 1024])
    assert 0 <= found - before - tokens < CHECK_EVERY


def test_looks_only_now_and_then():
    assert detected_at([*[1, 2, 3] * 85]) is None  # 255 tokens
    assert detected_at([0, *[1, 2, 3] * 90]) is None  # the next look is after the 272nd
    assert detected_at([0, *[1, 2, 3] * 91]) == 272


def test_a_longer_period_is_no_loop():
    assert detected_at([*range(MAX_PERIOD + 1)] * 8) is None


def test_a_chant_that_ends_is_no_loop():
    assert detected_at([*[7] * 255, 8] * 3) is None


def test_one_slip_begins_the_count_anew():
    assert detected_at([*[7, 8] * 100, 9, *[7, 8] * 127, 10]) is None


@pytest.mark.parametrize(
    "text",
    [
        ", ".join(map(str, range(1, 2000))),
        "\n".join(f"{a} x {b} = {a * b}" for a in range(1, 13) for b in range(1, 13)),
        "\n".join(f"| row {i} | 0 | 0 | 0 |" for i in range(400)),
        "\n".join(f"{i:04b} AND {i ^ 5:04b} = {i & (i ^ 5):04b}" for i in range(16)),
        "".join(f"Step {i}: move disk {1 + i % 3} from A to B.\n" for i in range(200)),
    ],
)
def test_enumerations_and_tables_are_no_loops(text):
    assert detected_at(text.encode()) is None


def test_random_text_is_no_loop():
    rng = random.Random(0)
    assert detected_at(rng.choices(range(2), k=5000)) is None


@pytest.fixture(scope="module")
def llm():
    with LLM() as nano:
        yield nano


def tool(parameters, **more):
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


def schema(parameters, **more):
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": parameters, **more}}


def test_an_answer_follows_its_schema_and_reasoning_is_not(llm):
    reply = llm.chat("Where?", params=LONG, response_format=schema(SCHEMA))
    assert json.loads(reply.text)["city"] in ("Rome", "Oslo")
    assert reply.finish_reason == "stop"
    assert reply.analysis


def test_a_call_follows_the_schema_of_its_function(llm):
    reply = llm.chat("Where?", params=LONG, tools=[tool(SCHEMA)], tool_choice="required")
    assert json.loads(reply.tool_calls[0].arguments)["city"] in ("Rome", "Oslo")


NUMBERED = ("lark", 'start: CITY (", " CITY){2}\nCITY: "Rome" | "Oslo" | /[a-c]{2,4}/')


@pytest.mark.parametrize(
    ("grammar", "whole"),
    [
        (("regex", "^(Rome|Oslo): [0-9]{1,3}$"), "(Rome|Oslo): [0-9]{1,3}"),
        (NUMBERED, "(Rome|Oslo|[a-c]{2,4})(, (Rome|Oslo|[a-c]{2,4})){2}"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_call_that_is_text_follows_its_grammar_to_its_end(llm, grammar, whole, seed):
    function = FunctionTool(name="f", input_format="text", grammar=grammar)
    params = SamplingParams(seed=seed, max_tokens=400)
    reply = llm.chat("Where?", params=params, tools=[function], tool_choice="required")
    assert reply.finish_reason == "tool_calls"
    assert re.fullmatch(whole, reply.tool_calls[0].arguments)


def test_a_grammar_that_cannot_be_honoured_is_refused_with_its_place(llm):
    function = FunctionTool(name="f", input_format="text", grammar=("lark", "start: nothing"))
    with pytest.raises(RequestError, match="cannot be read at its line 1") as refused:
        llm.chat("Where?", tools=[function])
    assert refused.value.param == "tools.f.format.definition"
    assert llm.chat("Hi", params=LONG, tools=[function], tool_choice="none").finish_reason


def test_any_object_will_do_for_a_function_without_a_schema(llm):
    params = SamplingParams(temperature=0, max_tokens=200, logit_bias={93: 100.0})
    reply = llm.chat("Go", params=params, tools=[tool(None)], tool_choice="f")
    for call in reply.tool_calls:
        assert isinstance(json.loads(call.arguments), dict)


def test_a_strict_schema_that_cannot_be_honoured_is_refused_with_its_place(llm):
    with pytest.raises(RequestError) as refused:
        llm.chat("Where?", tools=[tool(HOSTILE, strict=True)])
    assert refused.value.code == "invalid_json_schema"
    assert refused.value.param == "tools.f.parameters.properties.a.pattern"
    with pytest.raises(RequestError) as refused:
        llm.chat("Where?", response_format=schema(HOSTILE))
    assert refused.value.param == "response_format.json_schema.schema.properties.a.pattern"


def test_schemas_that_take_too_long_together_are_refused(llm, monkeypatch):
    monkeypatch.setattr(module, "MAX_COMPILE_SECONDS", 0.0)
    with pytest.raises(RequestError, match="too long to compile together") as refused:
        llm.chat("Where?", tools=[tool(SCHEMA)])
    assert refused.value.param == "tools"


def test_text_without_a_grammar_is_free(llm):
    function = FunctionTool(name="f", input_format="text")
    request = TurnRequest(conversation=llm.conversation("Go", tools=[function]))
    with GrammarCompiler(list, vocab_size=8) as grammars:
        assert compile_grammars(request, grammars) == {}


def test_one_that_is_not_strict_becomes_any_object(llm):
    reply = llm.chat("Where?", params=LONG, tools=[tool(HOSTILE)], tool_choice="none")
    assert reply.finish_reason in ("stop", "length")


def test_a_function_that_may_not_be_called_is_not_compiled(llm):
    tools = [tool(HOSTILE, strict=True)]
    assert llm.chat("Hi", params=LONG, tools=tools, tool_choice="none").finish_reason
