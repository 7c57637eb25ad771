import numpy as np
import pytest

from ossia.chat.guide import FrameGuide
from ossia.harmony.frame import Frame
from ossia.harmony.frame_rules import FrameRules

OPEN_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.fixture
def guide(vocabulary):
    def make(tools=(), *, max_analysis=None, max_tokens=100, **rules):
        recipients = dict.fromkeys(tools, "json")
        frame = Frame(vocabulary, FrameRules(recipients=recipients, **rules), vocab_size=320)
        return FrameGuide(frame, max_analysis=max_analysis, max_tokens=max_tokens)

    return make


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
