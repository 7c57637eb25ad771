"""From sampled ids to wire events: whatever the grammar lets a model say is told by the rules."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.byte_tokenizer import write_byte_tokenizer
from ossia.chat.output_parser import OutputParser, StopFinder, UsageTracker, parse_tokens
from ossia.engine.request import SampledToken, TokenEvent
from ossia.harmony.output_grammar import OutputGrammar
from ossia.harmony.output_rules import OutputRules
from ossia.server.responses.writer import ResponseWriter
from tests.server.responses.turns import SETTINGS
from tests.server.responses.wire_rules import BODIES, accumulated, check, typed

TOOLS = {"functions.look_up": "json", "functions.apply_patch": "text", "browser.search": "json"}
VOCAB_SIZE = 320


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    return write_byte_tokenizer(tmp_path_factory.mktemp("bytes") / "tokenizer.json")


def sampled(grammar, rng, max_tokens, reason):
    """Tokens of a model that says anything legal; bodies end soon."""
    state = grammar.start
    for _ in range(max_tokens):
        legal = grammar.legal(state)
        in_body = legal.is_content and not (legal.ids and rng.random() < 0.2)
        token_id = rng.randrange(256) if in_body else rng.choice(legal.ids)
        state, _ = grammar.step(state, token_id)
        if grammar.is_done(state):
            yield TokenEvent(0, SampledToken(token_id), finish_reason="stop")
            return
        yield TokenEvent(0, SampledToken(token_id))
    yield TokenEvent(0, None, finish_reason=reason)


def body(item):
    """The text of an item; None for one that has none."""
    if "content" in item:
        return item["content"][0]["text"]
    return item.get(BODIES[item["type"]])


@given(
    seed=st.integers(0, 10**6),
    max_tokens=st.integers(0, 200),
    reason=st.sampled_from(["length", "cancelled"]),
    end=st.sampled_from(["finished", "fault", "cancel"]),
    stop=st.sampled_from([(), ("e",)]),
)
def test_whatever_is_sampled_is_told_by_the_rules(tokenizer, seed, max_tokens, reason, end, stop):
    grammar = OutputGrammar(tokenizer, OutputRules(recipients=TOOLS), vocab_size=VOCAB_SIZE)
    turn = OutputParser(
        grammar, tokenizer, StopFinder(stop), UsageTracker(lambda: 0.0, prompt_tokens=7)
    )
    writer = ResponseWriter(SETTINGS)
    events = writer.begin()
    for event in parse_tokens(sampled(grammar, random.Random(seed), max_tokens, reason), turn):
        if end != "finished" and type(event).__name__ == "Finished":
            break
        events += writer.push(event)
    events += writer.fail("server_error", "it died", 7) if end == "fault" else writer.cancel(7)
    check(events)
    accumulated([typed(event) for event in events])
    texts = {each.item_id: each.message.text for each in writer.written}
    shown = {item["id"]: body(item) for item in writer.response["output"]}
    assert list(texts) == list(shown)[: len(texts)]
    for name, text in texts.items():
        assert shown[name] in (text, None)  # of a search only its action is told
