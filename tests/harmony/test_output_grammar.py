import random

import numpy as np
import openai_harmony
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lenient_parser import parse_messages
from ossia.harmony.output_grammar import (
    AllowedTokens,
    ContentDelta,
    IdTrie,
    MessageEnded,
    MessageStarted,
    OutputGrammar,
    OutputRules,
)

TOOLS = {
    "functions.f": "json", "functions.get": "json", "functions.get_weather": "json",
    "python": "text", "browser.search": "json", "mcp.y": "json", "analysis": "text",
}  # fmt: skip


def rows(tokenizer):
    return tokenizer.size + 37


def grammar_of(tokenizer, **rules):
    return OutputGrammar(
        tokenizer, OutputRules(**{"recipients": {}, **rules}), vocab_size=rows(tokenizer)
    )


def ids_of(tokenizer, text):
    """Ids of a text in which control tokens stand by name."""
    found = []
    for part in text.split("<|"):
        name, closed, rest = part.partition("|>")
        if closed:
            found.append(tokenizer.control[f"<|{name}|>"])
        found += tokenizer.encode(rest if closed else part)
    return found


def run(grammar, ids, state=None):
    state, events = grammar.start if state is None else state, []
    for token_id in ids:
        state, seen = grammar.step(state, token_id)
        events += seen
    return state, events


def messages_of(events):
    """The messages among events: channel, recipient, text, how closed."""
    found = []
    for event in events:
        match event:
            case MessageStarted(channel, recipient):
                found.append([channel, recipient, "", None])
            case ContentDelta(text):
                assert text
                found[-1][2] += text
            case MessageEnded(kind):
                found[-1][3] = kind
    return [tuple(each) for each in found]


def allowed_after(grammar, tokenizer, text):
    """What may follow a text, each legal id shown; * for ordinary text."""
    state, _ = run(grammar, ids_of(tokenizer, text))
    legal = grammar.legal(state)
    return {tokenizer.decode([each]) for each in legal.ids} | ({"*"} if legal.is_content else set())


def random_walk(grammar, tokenizer, rng):
    """Sample without any will of one's own."""
    state, ids, events = grammar.start, [], []
    while not grammar.is_done(state):
        legal = grammar.legal(state)
        assert legal.ids or legal.is_content
        leaves = legal.ids and (not legal.is_content or rng.random() < 0.2)
        token_id = rng.choice(legal.ids) if leaves else rng.randrange(250)
        assert legal.mask()[token_id]
        state, seen = grammar.step(state, token_id)
        ids.append(token_id)
        events += seen
    assert grammar.legal(state).ids == ()
    return ids, events


def random_rules(rng):
    names = rng.sample(sorted(TOOLS), rng.randrange(len(TOOLS) + 1))
    choices = ["auto", "none", *(["required", names[0]] if names else [])]
    return {
        "recipients": {name: TOOLS[name] for name in names},
        "choice": rng.choice(choices),
        "final_kind": rng.choice(("text", "json")),
        "allow_analysis": rng.random() < 0.8,
        "max_messages": rng.choice((1, 2, 16)),
    }


@pytest.mark.parametrize("seed", range(8))
def test_any_walk_ends_and_the_reader_sees_the_same_messages(tokenizer, seed):
    rng = random.Random(seed)
    for _ in range(40):
        ids, events = random_walk(grammar_of(tokenizer, **random_rules(rng)), tokenizer, rng)
        found = parse_messages(tokenizer, ids)
        assert messages_of(events) == [
            (m.channel, m.recipient, m.text, m.terminator) for m in found
        ]
        assert not any(message.broken for message in found)


def test_any_walk_is_read_by_the_published_parser(o200k, library):
    rng = random.Random(7)
    for _ in range(300):
        ids, events = random_walk(grammar_of(o200k, **random_rules(rng)), o200k, rng)
        role = openai_harmony.Role.ASSISTANT
        theirs = library.parse_messages_from_completion_tokens(ids, role, strict=True)
        for (channel, recipient, text, _), message in zip(messages_of(events), theirs, strict=True):
            assert (message.channel, message.content[0].text) == (channel, text)
            if channel != "final":  # it takes a content type after `final` for a recipient
                assert message.recipient == recipient


def test_the_trace_of_a_call_forces_most_of_its_header(o200k):
    grammar = grammar_of(o200k, recipients={"functions.f": "json"})
    state, _ = run(grammar, [200005])
    assert set(grammar.legal(state).ids) == {35644, 12606, 17196}
    state, _ = run(grammar, [12606], state)
    assert grammar.forced(state) == (815,)
    state, _ = run(grammar, [815], state)
    assert set(grammar.legal(state).ids) == {316, 200008}
    state, _ = run(grammar, [316], state)
    assert grammar.forced(state) == (28, 44580, 1196)
    state, _ = run(grammar, [28, 44580, 1196], state)
    assert set(grammar.legal(state).ids) == {200008, 5701, 220, 200003, 3490}
    state, _ = run(grammar, [220], state)
    assert grammar.forced(state) == (200003, 4108, 200008)
    state, events = run(grammar, [200003, 4108, 200008, *o200k.encode('{"a":1}'), 200012], state)
    assert messages_of(events) == [("commentary", "functions.f", '{"a":1}', "call")]
    assert grammar.is_done(state)


@pytest.mark.parametrize(
    "header",
    [
        "<|channel|>commentary to=functions.get",
        " to=functions.get<|channel|>commentary",
        "<|channel|>analysis to=functions.get json",
        " to=functions.get<|channel|>analysis <|constrain|>json",
        "<|channel|>commentary to=functions.get<|constrain|>json",
        "<|channel|>commentary to=functions.get code",
    ],
)
def test_a_call_may_be_headed_in_either_order(tokenizer, header):
    grammar = grammar_of(tokenizer, recipients=TOOLS)
    state, events = run(grammar, ids_of(tokenizer, f"{header}<|message|>{{}}<|call|>"))
    ((channel, recipient, text, kind),) = messages_of(events)
    assert channel in header
    assert (recipient, text, kind) == ("functions.get", "{}", "call")
    assert grammar.is_done(state)


def test_a_name_may_end_inside_another(o200k):
    grammar = grammar_of(o200k, recipients=TOOLS)
    shown = allowed_after(grammar, o200k, "<|channel|>commentary to=functions.get")
    assert {"<|message|>", "_weather"} <= shown


WHERE = "<|channel|>"


@pytest.mark.parametrize(
    ("rules", "before", "legal"),
    [
        ({}, "", {"<|channel|>"}),
        ({}, WHERE, {"analysis", "final"}),
        ({"allow_analysis": False}, WHERE, {"final"}),
        ({"recipients": TOOLS}, "", {"<|channel|>", " to"}),
        ({"recipients": TOOLS, "choice": "none"}, "", {"<|channel|>"}),
        ({"recipients": TOOLS, "choice": "none"}, WHERE, {"analysis", "final"}),
        ({"recipients": TOOLS, "choice": "required"}, WHERE, {"analysis", "comment"}),
        ({"recipients": TOOLS, "choice": "python"}, " to", {"="}),
        ({"recipients": TOOLS, "choice": "python"}, " to=", {"python"}),
        ({"recipients": TOOLS}, " to=python", {"<|channel|>"}),
        ({"recipients": TOOLS}, " to=python<|channel|>", {"analysis", "comment"}),
        ({"recipients": TOOLS}, " to=python<|channel|>analysis", {"<|message|>", " code"}),
        ({"recipients": TOOLS}, "<|channel|>analysis", {"<|message|>", " to"}),
        ({"recipients": TOOLS, "allow_analysis": False}, "<|channel|>analysis", {" to"}),
        ({"recipients": TOOLS}, "<|channel|>commentary", {"<|message|>", " to"}),
        ({}, "<|channel|>final", {"<|message|>"}),
        ({"recipients": TOOLS}, "<|channel|>final", {"<|message|>"}),
        (
            {"final_kind": "json"},
            "<|channel|>final",
            {"<|message|>", " json", " ", "<|constrain|>"},
        ),
        ({"final_kind": "json"}, "<|channel|>final ", {"<|constrain|>"}),
        ({}, "<|channel|>analysis<|message|>", {"*", "<|end|>"}),
        ({}, "<|channel|>final<|message|>", {"*"}),
        ({}, "<|channel|>final<|message|>x", {"*", "<|return|>"}),
        ({"recipients": TOOLS}, "<|channel|>commentary<|message|>", {"*"}),
        ({"recipients": TOOLS}, "<|channel|>commentary<|message|>x", {"*", "<|end|>"}),
        ({"recipients": TOOLS}, " to=python<|channel|>analysis<|message|>", {"*"}),
        ({"recipients": TOOLS}, " to=python<|channel|>analysis<|message|>x", {"*", "<|call|>"}),
        ({}, "<|channel|>analysis<|message|><|end|>", {"<|start|>"}),
        ({}, "<|channel|>analysis<|message|><|end|><|start|>", {"assistant"}),
        ({}, "<|channel|>analysis<|message|><|end|><|start|>assistant", {"<|channel|>"}),
        ({}, "<|channel|>final<|message|>x<|return|>", set()),
    ],
)
def test_each_place_offers_exactly_its_ids(o200k, rules, before, legal):
    assert allowed_after(grammar_of(o200k, **rules), o200k, before) == legal


def test_after_the_last_message_only_a_call_or_the_answer_is_left(o200k):
    thought = "<|channel|>analysis<|message|>x<|end|><|start|>assistant"
    alone = grammar_of(o200k, max_messages=2)
    assert allowed_after(alone, o200k, thought + WHERE) == {"analysis", "final"}
    assert allowed_after(alone, o200k, thought * 2 + WHERE) == {"final"}
    tools = grammar_of(o200k, max_messages=2, recipients=TOOLS)
    assert allowed_after(tools, o200k, thought * 2 + "<|channel|>commentary") == {" to"}
    assert allowed_after(tools, o200k, thought * 2 + "<|channel|>analysis") == {" to"}


def test_an_illegal_id_is_a_bug_of_the_caller(tokenizer):
    grammar = grammar_of(tokenizer)
    for text in ("", "<|channel|>final<|message|>", "<|channel|>analysis<|message|>x"):
        state, _ = run(grammar, ids_of(tokenizer, text))
        for token_id in (tokenizer.ids.call, tokenizer.ids.startoftext, rows(tokenizer), -1):
            with pytest.raises(ValueError, match=f"id {token_id} is not legal"):
                grammar.step(state, token_id)


def test_text_outside_the_models_table_is_illegal_in_content(o200k):
    with pytest.raises(ValueError, match="control id 200012 is outside the model's 1000 rows"):
        OutputGrammar(o200k, OutputRules(recipients={}), vocab_size=1000)


@pytest.mark.parametrize(
    "text", ["", "<|channel|>final<|message|>", "<|channel|>final<|message|>x"]
)
def test_the_mask_marks_what_is_legal(tokenizer, text):
    grammar = grammar_of(tokenizer)
    state, _ = run(grammar, ids_of(tokenizer, text))
    legal = grammar.legal(state)
    marked = set(np.flatnonzero(legal.mask()).tolist())
    text_ids = {i for i in range(tokenizer.size) if tokenizer.is_text(i)}
    assert marked == set(legal.ids) | (text_ids if legal.is_content else set())


def test_masks_of_contents_are_shared_between_requests(tokenizer):
    state, _ = run(grammar_of(tokenizer), ids_of(tokenizer, "<|channel|>final<|message|>"))
    assert grammar_of(tokenizer).legal(state).mask() is grammar_of(tokenizer).legal(state).mask()


def test_one_legal_id_is_forced_and_two_are_not():
    assert AllowedTokens((7,), vocab_size=9).only == 7
    assert AllowedTokens((7, 8), vocab_size=9).only is None
    assert AllowedTokens((7,), vocab_size=9, mask_V=np.ones(9, dtype=np.bool_)).only is None


def test_without_reasoning_and_tools_the_whole_header_is_forced(tokenizer):
    grammar = grammar_of(tokenizer, allow_analysis=False)
    assert grammar.forced(grammar.start) == tuple(ids_of(tokenizer, "<|channel|>final<|message|>"))


def test_closing_a_thought_opens_the_answer(tokenizer):
    grammar = grammar_of(tokenizer, recipients=TOOLS)
    state, _ = run(grammar, ids_of(tokenizer, "<|channel|>analysis<|message|>Hm"))
    assert grammar.in_analysis(state)
    closing = grammar.close_analysis(state)
    assert tokenizer.decode(closing) == "<|end|><|start|>assistant<|channel|>final<|message|>"
    state, events = run(grammar, closing, grammar.without_analysis(state))
    assert events[-1] == MessageStarted("final", None)
    assert not grammar.in_analysis(state)


def test_closing_a_thought_opens_the_call_where_one_is_required(o200k):
    for choice, tail in (("required", " to="), ("python", " to=python")):
        recipients = {"python": "text", "functions.f": "json"}
        grammar = grammar_of(o200k, recipients=recipients, choice=choice)
        state, _ = run(grammar, ids_of(o200k, "<|channel|>analysis<|message|>Hm"))
        closing = grammar.close_analysis(state)
        assert o200k.decode(closing) == (f"<|end|><|start|>assistant<|channel|>commentary{tail}")
        run(grammar, closing, grammar.without_analysis(state))


@pytest.mark.parametrize("text", ["", "<|channel|>final<|message|>x",
                                  " to=python<|channel|>analysis<|message|>x"])  # fmt: skip
def test_only_a_thought_is_closed_by_the_budget(tokenizer, text):
    grammar = grammar_of(tokenizer, recipients=TOOLS)
    state, _ = run(grammar, ids_of(tokenizer, text))
    assert grammar.close_analysis(state) == ()


def test_a_spent_budget_leaves_some_way_on_from_anywhere(tokenizer):
    grammar = grammar_of(tokenizer)
    text = "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>"
    state = grammar.start
    for token_id in ids_of(tokenizer, text):
        spent = grammar.without_analysis(state)
        assert grammar.legal(spent).ids
        state, _ = grammar.step(state, token_id)
    state, _ = run(grammar, ids_of(tokenizer, text[:-11]))
    state = grammar.without_analysis(state)
    assert grammar.forced(state) == tuple(ids_of(tokenizer, "<|channel|>final<|message|>"))


def test_ids_that_stop_in_content_leave_its_text(o200k):
    grammar = grammar_of(o200k)
    state, events = run(grammar, [*ids_of(o200k, "<|channel|>final<|message|>Hi"), 9552])
    assert messages_of([*events, *grammar.cut(state)]) == [("final", None, "Hi \ufffd", "cut")]


@pytest.mark.parametrize("text", ["", "<|channel|>", "<|channel|>analysis<|message|><|end|>"])
def test_ids_that_stop_in_a_header_leave_nothing(tokenizer, text):
    grammar = grammar_of(tokenizer)
    state, _ = run(grammar, ids_of(tokenizer, text))
    assert grammar.cut(state) == ()


def test_half_a_character_does_not_cross_into_the_next_message(o200k):
    grammar = grammar_of(o200k)
    fox = o200k.encode(" 🦊")
    text = [*ids_of(o200k, "<|channel|>analysis<|message|>"), fox[0]]
    middle = ids_of(o200k, "<|end|><|start|>assistant<|channel|>final<|message|>")
    _, events = run(grammar, [*text, *middle, *fox[1:], 200002])
    assert [text for _, _, text, _ in messages_of(events)] == [" \ufffd", "\ufffd\ufffd"]


def test_a_prefilled_answer_is_continued(tokenizer):
    grammar = grammar_of(tokenizer)
    state, prefilled = run(grammar, ids_of(tokenizer, "<|channel|>final<|message|>The sum"))
    _, events = run(grammar, ids_of(tokenizer, " is 85<|return|>"), state)
    assert messages_of([*prefilled, *events]) == [("final", None, "The sum is 85", "return")]


def test_a_prefix_that_begins_no_message_is_refused(tokenizer):
    with pytest.raises(ValueError, match="is not legal"):
        run(grammar_of(tokenizer), (tokenizer.ids.channel, tokenizer.ids.end))


@given(seed=st.integers(0, 10**6), data=st.data())
def test_a_state_kept_is_a_place_to_return_to(tiny, seed, data):
    rng = random.Random(seed)
    grammar = grammar_of(tiny, **random_rules(rng))
    ids, events = random_walk(grammar, tiny, rng)
    cut = data.draw(st.integers(0, len(ids)))
    saved, before = run(grammar, ids[:cut])
    again = grammar_of(tiny, **random_rules(random.Random(seed)))
    for _ in range(2):
        state, after = run(again, ids[cut:], saved)
        assert before + after == events
        assert hash(state) == hash(run(grammar, ids)[0])


def find(trie, ids):
    node = 0
    for token_id in ids:
        node = trie.children[node][token_id]
    return trie.complete.get(node)


def test_every_name_is_found_at_the_end_of_its_ids():
    trie = IdTrie({"ab": (1, 2), "abc": (1, 2, 3), "d": (4,)})
    assert find(trie, (1, 2)) == "ab"
    assert find(trie, (1, 2, 3)) == "abc"
    assert find(trie, (1,)) is None
    assert set(trie.children[0]) == {1, 4}


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        ({"a": (1, 2, 3), "b": (1, 2, 4)}, (1, 2)),
        ({"a": (1, 2), "b": (1, 2, 4)}, (1, 2)),
        ({"a": (1, 2)}, (1, 2)),
        ({"a": (1,), "b": (2,)}, ()),
        ({}, ()),
    ],
)
def test_the_common_prefix_is_what_every_name_begins_with(names, prefix):
    assert IdTrie(names).common_prefix() == prefix


def test_a_name_has_ids():
    with pytest.raises(ValueError, match="'a' has no ids"):
        IdTrie({"a": ()})
