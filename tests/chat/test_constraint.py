import numpy as np
import pytest

from ossia.chat.constraint import FrameGuide
from ossia.errors import RequestError
from ossia.grammar.body import Grammars
from ossia.harmony.frame_rules import FrameRules
from ossia.harmony.output_grammar import Frame

OPEN_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.fixture
def guide(vocabulary):
    def make(tools=(), *, max_analysis=None, max_tokens=100, bodies=None, **rules):
        recipients = dict.fromkeys(tools, "json")
        frame = Frame(vocabulary, FrameRules(recipients=recipients, **rules), vocab_size=320)
        return FrameGuide(frame, max_analysis=max_analysis, max_tokens=max_tokens, bodies=bodies)

    return make


@pytest.fixture(scope="module")
def grammars(vocabulary):
    def token_bytes():
        ids = range(vocabulary.size)
        return [vocabulary.bytes_of(each) if vocabulary.is_text(each) else None for each in ids]

    with Grammars(token_bytes, vocab_size=320) as one:
        yield one


@pytest.fixture(scope="module")
def count(grammars):
    """A grammar of objects with one small whole number, n."""
    number = {"type": "integer", "minimum": 0, "maximum": 99}
    shape = {"type": "object", "properties": {"n": number}, "required": ["n"]}
    return grammars.compile({**shape, "additionalProperties": False})


def feed(guide, ids):
    for token_id in ids:
        guide.accept(token_id)


def test_forces_the_opener_when_reasoning_is_spent(guide, spell):
    one = guide(max_analysis=3)
    feed(one, spell("<|channel|>analysis<|message|>ab"))
    assert tuple(one.forced(90)) == ()
    feed(one, spell("c"))
    assert list(one.forced(90)) == spell(OPEN_FINAL)
    feed(one, spell(OPEN_FINAL + "x<|return|>"))
    assert one.finished


def test_forces_the_answer_when_the_length_limit_comes_near(guide, spell):
    one = guide(max_tokens=100)  # a quarter is kept back, and room for the opener
    feed(one, spell("<|channel|>analysis<|message|>a"))
    opener = len(spell(OPEN_FINAL))
    assert tuple(one.forced(25 + opener + 1)) == ()
    assert list(one.forced(25 + opener)) == spell(OPEN_FINAL)


def test_no_reasoning_at_all_forces_the_answer_at_once(guide, spell):
    one = guide(max_analysis=0)
    assert list(one.forced(100)) == spell("<|channel|>final<|message|>")


def test_after_spent_reasoning_no_thought_begins_again(guide, spell, vocabulary):
    one = guide(["functions.f"], max_analysis=1)
    feed(one, spell("<|channel|>analysis<|message|>a"))
    feed(one, one.forced(100))
    allowed = one.allowed()
    assert isinstance(allowed, np.ndarray)  # a body: text, as a mask
    assert not allowed[vocabulary.ids.end]


def test_a_required_call_is_what_spent_reasoning_opens(guide, spell):
    one = guide(["functions.f"], max_analysis=1, choice="required")
    feed(one, spell("<|channel|>analysis<|message|>a"))
    forced = list(one.forced(100))
    expected = spell("<|end|><|start|>assistant<|channel|>commentary to=functions.f")
    assert forced == expected


def test_headers_are_few_ids_and_bodies_masks(guide, spell, vocabulary):
    one = guide(["functions.f"])
    assert set(one.allowed()) == {vocabulary.ids.channel, *spell(" ")}
    feed(one, spell("<|channel|>final<|message|>x"))
    mask = one.allowed()
    assert mask.dtype == bool
    assert mask[vocabulary.ids.return_]
    assert mask[:256].all()
    assert mask.sum() == 257


def test_an_answer_ends_just_where_its_grammar_may(guide, spell, vocabulary, count):
    one = guide(bodies={None: count})
    feed(one, spell("<|channel|>final<|message|>"))
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    feed(one, spell('{"n":1'))
    assert not one.allowed()[vocabulary.ids.return_]
    assert tuple(one.forced(90)) == ()
    with pytest.raises(ValueError, match="not whole"):
        one.accept(vocabulary.ids.return_)
    feed(one, spell("}"))
    assert list(one.forced(90)) == [vocabulary.ids.return_]
    assert np.flatnonzero(one.allowed()).tolist() == [vocabulary.ids.return_]
    feed(one, one.forced(90))
    assert one.finished


def test_an_answer_that_may_go_on_is_not_ended_by_force(guide, spell, vocabulary, grammars):
    one = guide(bodies={None: grammars.compile({"type": "integer"})})
    feed(one, spell("<|channel|>final<|message|>12"))
    mask = one.allowed()
    assert mask[vocabulary.ids.return_]
    assert mask[ord("3")]
    assert not mask[ord("x")]
    assert tuple(one.forced(90)) == ()


def test_each_recipient_has_its_own_grammar(guide, spell, vocabulary, count):
    bodies = {"functions.f": count}
    one = guide(["functions.f"], bodies=bodies)
    feed(one, spell("<|channel|>commentary to=functions.f<|message|>"))
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    feed(one, spell('{"n":12}'))
    assert list(one.forced(90)) == [vocabulary.ids.call]


def test_thoughts_preambles_and_unnamed_bodies_stay_free(guide, spell, count):
    free = spell("<|channel|>commentary to=functions.g<|message|>x")
    one = guide(["functions.f", "functions.g"], bodies={None: count, "functions.f": count})
    feed(one, spell("<|channel|>analysis<|message|>free<|end|>"))
    feed(one, spell("<|start|>assistant<|channel|>commentary<|message|>free<|end|>"))
    feed(one, spell("<|start|>assistant"))
    feed(one, free)
    assert one.allowed()[:256].all()


def test_what_does_not_fit_the_grammar_is_not_accepted(guide, spell, count):
    one = guide(bodies={None: count})
    feed(one, spell("<|channel|>final<|message|>"))
    with pytest.raises(ValueError, match="does not fit"):
        feed(one, spell("x"))


def test_an_opener_may_begin_a_held_body_but_not_write_it(guide, spell, count):
    opened = spell("<|channel|>final<|message|>")
    one = guide(bodies={None: count}, opener=tuple(opened))
    assert np.flatnonzero(one.allowed()).tolist() == spell("{")
    begun = tuple([*opened, *spell("{")])
    with pytest.raises(RequestError, match="begun already"):
        guide(bodies={None: count}, opener=begun)
    assert guide(opener=begun).allowed()[:256].all()


def test_looping_reasoning_is_closed(guide, spell):
    one = guide(max_tokens=4000)
    feed(one, spell("<|channel|>analysis<|message|>" + "wait, no. " * 25 + "wait,"))
    assert tuple(one.forced(3000)) == ()
    feed(one, spell(" no. wait, no. wait,"))
    assert one.closed_because is None
    assert list(one.forced(3000)) == spell(OPEN_FINAL)
    assert one.closed_because == "loop"


def test_tells_why_reasoning_was_closed(guide, spell):
    spent, late, free = guide(max_analysis=1), guide(max_tokens=100), guide()
    for one in (spent, late, free):
        feed(one, spell("<|channel|>analysis<|message|>a"))
    assert [bool(spent.forced(90)), bool(late.forced(30)), bool(free.forced(90))] == [1, 1, 0]
    assert [one.closed_because for one in (spent, late, free)] == ["budget", "length", None]


def test_no_reasoning_from_the_start_is_nothing_closed(guide, spell):
    one = guide(max_analysis=0)
    feed(one, one.forced(100))
    assert one.closed_because is None
