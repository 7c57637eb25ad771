import itertools

import pytest

from benchmarks.byte_tokenizer import CONTROL
from ossia.chat.completion import complete, end_token_ids, meaningful_ids
from ossia.chat.events import TokenLogprob
from ossia.chat.output_parser import CompletionParser, StopFinder, UsageTracker, parse_tokens
from ossia.engine.request import SampledToken, TokenEvent
from ossia.harmony.byte_bpe import PATTERN, write_tokenizer_json
from ossia.harmony.tokenizer import Tokenizer


@pytest.fixture
def raw(tokenizer, spell):
    """A completion of scripted tokens."""

    def run(choices, reason="length", stop=(), spelt=True):
        ticks = itertools.count()
        usage = UsageTracker(lambda: next(ticks), 3)
        parser = CompletionParser(tokenizer if spelt else None, StopFinder(stop), usage)
        events = [TokenEvent(0, choice) for choice in choices]
        if reason == "cancelled":
            events.append(TokenEvent(0, None, finish_reason=reason))
        else:
            events[-1] = TokenEvent(0, choices[-1], finish_reason=reason)
        return complete(parse_tokens(iter(events), parser), parser)

    return run


def test_control_tokens_are_spelt_by_name(raw, spell):
    found = raw([SampledToken(each) for each in spell("a<|end|>b")])
    assert (found.text, found.token_ids) == ("a<|end|>b", spell("a<|end|>b"))


def test_half_a_character_before_a_control_token_is_marked(raw, spell):
    half = "€".encode()[0]
    assert raw([SampledToken(half), *map(SampledToken, spell("<|end|>"))]).text == "\ufffd<|end|>"


def test_log_probabilities_come_beside_their_text(raw, spell):
    a, b = spell("ab")
    found = raw([SampledToken(a, -0.5, ((a, -0.5), (b, -1.0))), SampledToken(b, -0.25)])
    assert [(one.token, one.logprob) for one in found.logprobs] == [("a", -0.5), ("b", -0.25)]
    assert found.logprobs[0].top == (TokenLogprob("a", a, -0.5), TokenLogprob("b", b, -1.0))


def test_a_cancelled_completion_keeps_what_came(raw, spell):
    found = raw([SampledToken(each) for each in spell("abc")], reason="cancelled")
    assert (found.text, found.finish_reason) == ("abc", "cancelled")


def test_without_a_tokenizer_there_are_only_ids(raw):
    found = raw([SampledToken(5), SampledToken(6)], spelt=False)
    assert (found.text, found.token_ids) == ("", [5, 6])


def test_text_held_back_for_a_stop_comes_at_the_end(raw, spell):
    found = raw([SampledToken(each) for each in spell("abEN")], stop=["END"])
    assert (found.text, found.finish_reason) == ("abEN", "length")


def test_padding_of_the_table_and_reserved_names_mean_nothing(tmp_path):
    control = {name: 256 + place for place, name in enumerate([*CONTROL, "<|reserved_1|>"])}
    write_tokenizer_json(tmp_path / "t", [bytes([each]) for each in range(256)], PATTERN, control)
    mask_V = meaningful_ids(Tokenizer.from_file(tmp_path / "t"), 320)
    assert mask_V[: 256 + len(CONTROL)].all()
    assert not mask_V[256 + len(CONTROL) :].any()
    assert meaningful_ids(None, 320) is None


def test_raw_text_ends_where_a_turn_or_a_text_ends(tokenizer):
    ids = tokenizer.ids
    assert end_token_ids(tokenizer) == {ids.endoftext, ids.return_, ids.call}
    assert end_token_ids(None) == frozenset()


def test_half_a_character_is_told_by_its_bytes(raw):
    first = "€".encode()[0]
    (scored,) = raw([SampledToken(first, -0.5)]).logprobs
    assert (scored.token, scored.bytes) == ("\ufffd", [first])
