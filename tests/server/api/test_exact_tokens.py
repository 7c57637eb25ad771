import asyncio
import json
from concurrent.futures import Future
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.errors import StoreError
from ossia.harmony.byte_bpe import PATTERN, write_tokenizer_json
from ossia.harmony.messages import Conversation, Message
from ossia.harmony.render import render_message, render_prompt
from ossia.harmony.tokenizer import Tokenizer
from ossia.server.api.exact_tokens import KEY_BYTES, ExactTokens, ReferenceSigner
from ossia.server.api.history import HistoryMessage
from ossia.store.database import Database
from ossia.store.token_memory import TokenMemory
from tests.harmony.tiny_tokenizer import CONTROL, RANKS

SIGNER = ReferenceSigner(b"k" * KEY_BYTES)
USER = HistoryMessage(message=Message(role="user", content="q"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    write_tokenizer_json(path, RANKS, PATTERN, CONTROL)
    return Tokenizer.from_file(path)


@pytest.fixture(scope="module")
def database():
    opened = Database(None)
    yield opened
    opened.close()


@pytest.fixture
def memory(database):
    return a_memory(database)


def a_memory(database, **more):
    return ExactTokens(TokenMemory(database), SIGNER, model=lambda: "m", **more)


def analysis(text, **names):
    return entry("analysis", text, **names)


def entry(channel, text, recipient=None, ids=None, **names):
    message = Message(
        role="assistant",
        channel=channel,
        content=text,
        recipient=recipient and f"functions.{recipient}",
        content_type="json" if recipient else None,
        sampled_ids=ids,
    )
    return HistoryMessage(message=message, **names)


def result(call_id, text="r", name="f"):
    message = Message(role="tool", name=f"functions.{name}", channel="commentary", content=text)
    return HistoryMessage(message=message, call_id=call_id)


def bare(one, **names):
    """As a client without our ids sends it."""
    return HistoryMessage(message=replace(one.message, sampled_ids=None), **names)


THOUGHT = analysis("I think.", ids=(1, 2), item_id="rs_1")
SECOND = analysis("And again.", ids=(3,), item_id="rs_2")
PREAMBLE = entry("commentary", "Let me see.", ids=(4,), item_id="msg_1")
CALL = entry("commentary", '{"a":1,"b":2.0}', "f", ids=(5,), item_id="fc_1", call_id="call_1")
ANSWER = entry("final", "It is so.\n", ids=(6,), item_id="msg_2")
CALLING = [THOUGHT, SECOND, PREAMBLE, CALL]
ANSWERING = [THOUGHT, PREAMBLE, ANSWER]


def ids(messages):
    return [message.sampled_ids for message in messages]


def restored(memory, sent, owner="anna"):
    return asyncio.run(memory.restored(owner, sent))


@pytest.fixture
def calling(memory):
    asyncio.run(memory.remember("anna", CALLING, durable=True))
    return memory


@pytest.fixture
def answering(memory):
    asyncio.run(memory.remember("anna", ANSWERING, durable=True))
    return memory


class TestACall:
    def test_gets_its_ids_and_all_that_led_to_it_by_its_call_id_alone(self, calling):
        sent = [USER, bare(CALL, call_id="call_1"), result("call_1")]
        assert ids(restored(calling, sent)) == [None, (1, 2), (3,), (4,), (5,), None]

    @pytest.mark.parametrize(
        "text", ['{"a":1,"b":2.0}', '{ "b": 2, "a": 1 }', '{"b": 2.0, "a": 1}']
    )
    def test_is_recognised_however_its_json_is_spelt(self, calling, text):
        sent = [entry("commentary", text, "f", call_id="call_1")]
        assert ids(restored(calling, sent))[-1] == (5,)

    @pytest.mark.parametrize("text", ['{"a":1,"b":3}', '{"a":true,"b":2}', "{", "[" * 5000])
    def test_with_edited_arguments_is_left_alone(self, calling, text):
        sent = [bare(THOUGHT), entry("commentary", text, "f", call_id="call_1")]
        assert restored(calling, sent) == tuple(one.message for one in sent)

    def test_of_another_function_is_left_alone(self, calling):
        sent = [entry("commentary", CALL.message.content, "g", call_id="call_1")]
        assert ids(restored(calling, sent)) == [None]

    def test_is_known_by_its_item_when_its_call_id_was_changed(self, calling):
        sent = [bare(CALL, item_id="fc_1", call_id="other")]
        assert ids(restored(calling, sent)) == [(1, 2), (3,), (4,), (5,)]
        assert ids(restored(calling, [bare(CALL)])) == [None]

    def test_is_known_by_its_reasoning_when_all_else_was_changed(self, calling):
        sealed = calling.encrypted_content("rs_1", "anna")
        sent = [analysis("", encrypted_content=sealed), bare(CALL, call_id="other")]
        assert ids(restored(calling, sent)) == [(1, 2), (3,), (4,), (5,)]

    def test_with_all_of_its_reasoning_in_one_text_is_known(self, calling):
        sent = [analysis("I think.\nAnd again."), bare(PREAMBLE), bare(CALL, call_id="call_1")]
        assert ids(restored(calling, sent)) == [(1, 2), (3,), (4,), (5,)]

    @pytest.mark.parametrize("between", ["\n\n", "\n", ""])
    def test_with_its_preamble_in_the_reasoning_too_is_known(self, calling, between):
        reasoning = between.join(("I think.", "And again.", "Let me see."))
        sent = [analysis(reasoning), bare(CALL, call_id="call_1")]
        assert restored(calling, sent) == tuple(one.message for one in CALLING)

    def test_with_more_in_the_reasoning_than_was_said_keeps_that(self, calling):
        sent = [analysis("I think. And again. Let me see. So."), bare(CALL, call_id="call_1")]
        assert ids(restored(calling, sent)) == [None, (5,)]

    def test_keeps_edited_reasoning_as_it_was_edited(self, calling):
        sent = [analysis("I doubt."), bare(SECOND), bare(CALL, call_id="call_1")]
        assert ids(restored(calling, sent)) == [None, (3,), (5,)]

    def test_gets_back_its_reasoning_before_an_edited_preamble(self, calling):
        sent = [entry("commentary", "Hm."), bare(CALL, call_id="call_1")]
        messages = restored(calling, sent)
        assert ids(messages) == [(1, 2), (3,), None, (5,)]
        assert messages[2].content == "Hm."

    def test_is_unknown_to_another_owner(self, calling):
        sent = [bare(CALL, call_id="call_1", item_id="fc_1")]
        assert ids(restored(calling, sent, owner="berta")) == [None]

    def test_is_unknown_to_another_model(self, calling, database):
        other = ExactTokens(TokenMemory(database), SIGNER, model=lambda: "other")
        assert ids(restored(other, [bare(CALL, call_id="call_1")])) == [None]

    def test_can_be_asked_for_by_its_id(self, calling):
        found = asyncio.run(calling.calls("anna", ["call_1", "call_9"]))
        assert found == {"call_1": CALL}
        assert asyncio.run(calling.calls("berta", ["call_1"])) == {}


class TestAnAnswer:
    def test_is_known_by_its_text_and_gets_no_reasoning(self, answering):
        sent = [USER, entry("final", "It is so."), USER]
        assert ids(restored(answering, sent)) == [None, (6,), None]

    def test_keeps_reasoning_that_was_sent_along(self, answering):
        sent = [USER, bare(THOUGHT), bare(PREAMBLE), bare(ANSWER), USER]
        assert ids(restored(answering, sent)) == [None, (1, 2), (4,), (6,), None]

    def test_joined_with_its_preamble_is_taken_apart(self, answering):
        sent = [USER, entry("final", "Let me see.\n\nIt is so.")]
        assert ids(restored(answering, sent)) == [None, (4,), (6,)]

    def test_after_reasoning_that_has_its_preamble_too_is_taken_apart(self, answering):
        sent = [USER, analysis("I think.\n\nLet me see."), bare(ANSWER)]
        assert ids(restored(answering, sent)) == [None, (1, 2), (4,), (6,)]

    def test_edited_is_left_alone_even_if_its_item_is_ours(self, answering):
        sent = [entry("final", "It is not so.", item_id="msg_2"), entry("final", "It is  so.")]
        assert ids(restored(answering, sent)) == [None, None]

    def test_that_follows_another_message_is_its_own(self, answering):
        sent = [entry("final", "x"), bare(ANSWER)]
        assert ids(restored(answering, sent)) == [None, (6,)]

    def test_without_a_preamble_is_not_taken_for_one(self, memory):
        asyncio.run(memory.remember("anna", [THOUGHT, ANSWER], durable=True))
        assert ids(restored(memory, [entry("commentary", "It is so.")])) == [None]


class TestReasoning:
    def test_sealed_beats_the_text_that_came_with_it(self, calling):
        sent = [
            analysis("forged", encrypted_content=calling.encrypted_content("rs_1", "anna")),
            USER,
        ]
        assert restored(calling, sent)[0] == THOUGHT.message

    def test_by_its_item_keeps_its_text_if_that_was_edited(self, calling):
        sent = [analysis("forged", item_id="rs_1"), USER, analysis("I  think.", item_id="rs_1")]
        assert ids(restored(calling, sent)) == [None, None, (1, 2)]

    @pytest.mark.parametrize(
        "sealed", ["junk", ReferenceSigner(b"x" * KEY_BYTES).sign("rs_1", "anna")]
    )
    def test_with_a_foreign_seal_is_what_its_text_says(self, calling, sealed):
        sent = [
            analysis("", encrypted_content=sealed),
            USER,
            analysis("so", encrypted_content=sealed),
            USER,
        ]
        assert [message.content for message in restored(calling, sent)] == ["q", "so", "q"]

    def test_sealed_but_forgotten_is_what_its_text_says(self, calling):
        sent = [analysis("", encrypted_content=calling.encrypted_content("rs_9", "anna")), USER]
        assert restored(calling, sent) == (USER.message,)

    def test_of_another_generation_stays_beside_a_call(self, calling):
        other = analysis("Elsewhere.", ids=(9,), item_id="rs_9")
        asyncio.run(calling.remember("anna", [other], durable=False))
        sent = [
            analysis("", encrypted_content=calling.encrypted_content("rs_9", "anna")),
            bare(CALL, call_id="call_1"),
        ]
        assert ids(restored(calling, sent)) == [(9,), (5,)]


def test_items_can_be_asked_for_by_their_ids(calling):
    found = asyncio.run(calling.items("anna", ["rs_2", "msg_1", "rs_9"]))
    assert found == {"rs_2": SECOND, "msg_1": PREAMBLE}


def test_what_need_not_last_is_remembered_too(memory):
    asyncio.run(memory.remember("anna", CALLING, durable=False))
    assert ids(restored(memory, [bare(CALL, call_id="call_1")])) == [(1, 2), (3,), (4,), (5,)]


def test_messages_without_items_are_known_by_their_calls_and_texts(memory):
    wrote = [replace(one, item_id=None) for one in (THOUGHT, CALL)]
    asyncio.run(memory.remember("anna", wrote, durable=True))
    assert ids(restored(memory, [bare(CALL, call_id="call_1")])) == [(1, 2), (5,)]


def test_a_turn_of_nothing_leaves_nothing(memory):
    asyncio.run(memory.remember("anna", [], durable=True))
    assert restored(memory, []) == ()


def test_an_empty_answer_is_left_out(memory):
    assert restored(memory, [USER, entry("final", "")]) == (USER.message,)


def test_what_was_recognised_is_counted(database):
    hits = []
    memory = a_memory(database, on_hits=hits.append)
    asyncio.run(memory.remember("anna", CALLING, durable=True))
    restored(memory, [USER, bare(CALL, call_id="call_1")])
    assert hits == [4]


class BrokenMemory:
    """A store whose disk is gone."""

    def recall(self, owner, keys):
        return failed()

    def remember(self, owner, values, *, durable, response_id=None):
        return failed()


def failed():
    future = Future()
    future.set_exception(StoreError("the disk is gone"))
    return future


def test_a_store_that_fails_is_a_miss():
    memory = ExactTokens(BrokenMemory(), SIGNER, model=lambda: "m")
    asyncio.run(memory.remember("anna", CALLING, durable=True))
    sent = [bare(CALL, call_id="call_1")]
    assert restored(memory, sent) == (sent[0].message,)
    assert asyncio.run(memory.calls("anna", ["call_1"])) == {}


# One conversation as a client may live it: tool loops and answers, and what it loses of them.
WORDS = st.text("analtion {}:\n\u00e9", max_size=12)
ARGUMENTS = st.dictionaries(
    st.text("xyz", min_size=1, max_size=2),
    st.integers(-9, 9) | st.booleans() | st.just(1.0) | WORDS,
    max_size=4,
)


@st.composite
def generations(draw):
    """Messages of one generation, in a spelling of ids that the renderer would not choose."""
    parts = [("analysis", draw(WORDS)) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        parts.append(("commentary", draw(WORDS.filter(str.strip))))
        if draw(st.booleans()):
            parts.append(("analysis", draw(WORDS)))
    if draw(st.booleans()):
        return [*parts, ("call", json.dumps(draw(ARGUMENTS)))]
    return [*parts, ("final", draw(WORDS.filter(str.strip)))]


def sampled(tokenizer, kind, text, at):
    """A message as the model might write it: recipient after the channel, one byte a token."""
    control = tokenizer.ids
    name = {"call": "commentary"}.get(kind, kind)
    head = [control.channel, *tokenizer.encode(name)]
    if kind == "call":
        head += tokenizer.encode(" to=functions.f")
    body = [token for letter in text for token in tokenizer.encode(letter)]
    end = {"call": control.call, "final": control.return_}.get(kind, control.end)
    row = (*head, control.message, *body, end)
    call_id = f"call_{at}" if kind == "call" else None
    recipient = "f" if kind == "call" else None
    return entry(name, text, recipient, row, item_id=f"item_{at}", call_id=call_id)


def lost(draw, one, sealed):
    """What a careless client keeps of one message of ours; None: nothing."""
    message = replace(one.message, sampled_ids=None)
    item_id = one.item_id if draw(st.booleans()) else None
    if message.channel == "analysis":
        fate = draw(st.sampled_from(["dropped", "sealed", "kept"]))
        if fate == "dropped":
            return None
        if fate == "sealed":
            return HistoryMessage(
                message=replace(message, content=""), encrypted_content=sealed(one.item_id)
            )
    if one.is_call:
        pairs = list(json.loads(message.content).items())
        pairs = draw(st.permutations(pairs))
        message = replace(message, content=json.dumps(dict(pairs), indent=1))
    return HistoryMessage(message=message, item_id=item_id, call_id=one.call_id)


@pytest.mark.slow
@settings(max_examples=50)
@given(data=st.data())
def test_whatever_a_client_loses_of_ours_the_next_prompt_goes_on_from_the_last(
    data, tokenizer, database
):
    memory = a_memory(database)
    owner = str(id(data))
    history = [USER]  # the client's own
    serial = 0
    for _ in range(data.draw(st.integers(1, 4), label="generations")):
        prompt = tokens(tokenizer, memory, owner, history)
        parts = data.draw(generations())
        wrote = [sampled(tokenizer, *part, serial + at) for at, part in enumerate(parts)]
        serial += len(wrote)
        asyncio.run(memory.remember(owner, wrote, durable=data.draw(st.booleans())))
        spoken = prompt + joined_ids(tokenizer, wrote)
        returned = [
            lost(data.draw, one, lambda item: memory.encrypted_content(item, owner))
            for one in wrote
        ]
        history += [one for one in returned if one is not None]
        if wrote[-1].is_call:
            history.append(result(wrote[-1].call_id, data.draw(WORDS)))
            following = tokens(tokenizer, memory, owner, history)
            assert following[: len(spoken)] == spoken
        else:
            history.append(USER)
            following = tokens(tokenizer, memory, owner, history)
            # harmony drops the reasoning of the turn that is over; the answer is as it was
            answer = render_message(tokenizer, wrote[-1].message)
            question = render_message(tokenizer, USER.message)
            assert contains(following, answer + question)


def tokens(tokenizer, memory, owner, history):
    messages = asyncio.run(memory.restored(owner, history))
    return render_prompt(tokenizer, Conversation(messages=messages))


def joined_ids(tokenizer, wrote):
    """What was sampled after START assistant, as the next prompt spells it."""
    rows = [render_message(tokenizer, one.message) for one in wrote]
    opener = 1 + len(tokenizer.encode("assistant"))
    return [token for row in rows for token in row][opener:]


def contains(ids_, run):
    return any(ids_[at : at + len(run)] == run for at in range(len(ids_)))


def ours(name, text, output, channel="analysis", *, ids=None, **names):
    """A call that ran here, with its result."""
    message = Message(
        role="assistant", channel=channel, recipient=name, content=text, sampled_ids=ids
    )
    result = Message(role="tool", name=name, channel=channel, content=output)
    return HistoryMessage(message=message, result=result, **names)


SEARCH = ours("browser.search", '{"query":"owls","topn":3}', "Owls.", ids=(7,), item_id="ws_1")
OPEN = ours("browser.open", '{"id":3}', "A page.", ids=(8,), item_id="ws_2")
CODE = ours("python", "2+2", "4", ids=(9,), item_id="ci_1")
AGAIN = ours("python", "2+2", "5", ids=(10,), item_id="ci_2")
SENT = ours("post.send", '{"a":1}', "Sent.", "commentary", ids=(11,), item_id="mcp_1")
RAN = [THOUGHT, SEARCH, SECOND, OPEN, CODE, AGAIN, SENT]
CITED = entry("final", "See 【1†L3】.", ids=(12,), item_id="msg_9", shown_text="See  ([a.b](u)) .")
LOST_SEARCH = ours("browser.search", '{"query":"owls"}', "lost", item_id="ws_1")
LOST_OPEN = ours("browser.open", '{"id":"https://a.b"}', "lost", item_id="ws_2")
LOST_CODE = ours("python", "2+2", "lost", item_id="ci_1")
LOST_AGAIN = ours("python", "2+2", "lost", item_id="ci_2")
LOST_SENT = ours("post.send", '{"a":1}', "lost", "commentary", item_id="mcp_1")
REPLAYED = [LOST_SEARCH, LOST_OPEN, LOST_CODE, LOST_AGAIN, LOST_SENT]


def spelt(entries):
    return [message for one in entries for message in one.messages]


class TestWhatRanHere:
    @pytest.fixture
    def working(self, memory):
        """A turn with calls of our tools and then one of the client's."""
        asyncio.run(memory.remember("anna", [*RAN, CALL], durable=True))
        return memory

    @pytest.fixture
    def done(self, memory):
        asyncio.run(memory.remember("anna", [*RAN, PREAMBLE, CITED], durable=True))
        return memory

    def test_comes_back_with_its_results_before_a_call_of_the_clients(self, working):
        sent = [USER, bare(CALL, call_id="call_1"), result("call_1")]
        found = restored(working, sent)
        assert list(found) == [USER.message, *spelt([*RAN, CALL]), sent[-1].message]

    def test_is_the_same_when_its_items_come_along(self, working):
        sent = [bare(THOUGHT), *REPLAYED, bare(CALL, call_id="call_1")]
        assert list(restored(working, sent)) == spelt([*RAN, CALL])

    def test_is_put_back_before_reasoning_that_was_edited(self, working):
        sent = [analysis("I doubt."), bare(CALL, call_id="call_1")]
        found = restored(working, sent)
        calls = [one for one in RAN if one.is_call]
        assert list(found) == [*spelt(calls), sent[0].message, CALL.message]

    def test_that_was_edited_is_rendered_afresh_with_what_it_holds(self, working):
        edited = ours("browser.search", '{"query":"bats"}', "Bats.", item_id="ws_1")
        sent = [bare(THOUGHT), edited, bare(CALL, call_id="call_1")]
        assert list(restored(working, sent)) == [THOUGHT.message, *edited.messages, CALL.message]

    def test_is_known_by_its_item_in_a_turn_that_ended(self, done):
        sent = [bare(THOUGHT), *REPLAYED, bare(PREAMBLE), bare(CITED), USER]
        known = [THOUGHT, *(one for one in RAN if one.is_call), PREAMBLE, CITED]
        assert list(restored(done, sent)) == [*spelt(known), USER.message]

    def test_two_calls_that_say_the_same_keep_their_own_results(self, done):
        found = restored(done, [LOST_AGAIN, LOST_CODE, bare(CITED)])
        assert [message.text for message in found if message.role == "tool"] == ["5", "4"]

    def test_is_kept_by_a_client_that_saw_only_the_answer_where_harmony_keeps_it(self, done):
        sent = [entry("final", PREAMBLE.message.text + "\n\n" + CITED.message.text), USER]
        assert list(restored(done, sent)) == [*spelt([SENT, PREAMBLE, CITED]), USER.message]

    def test_an_answer_is_known_with_its_marks_made_links(self, done):
        sent = [entry("final", CITED.shown_text)]
        assert restored(done, sent)[-1] == CITED.message

    def test_of_a_turn_that_broke_off_comes_back_too(self, memory):
        asyncio.run(memory.remember("anna", RAN, durable=True))
        sent = [USER, bare(THOUGHT), *REPLAYED, USER]
        assert list(restored(memory, sent)) == [USER.message, *spelt(RAN), USER.message]

    def test_that_nobody_knows_is_rendered_from_its_item(self, memory):
        unknown = [replace(one, item_id=f"x{one.item_id}") for one in REPLAYED]
        sent = [USER, *unknown, entry("final", "Never said before.")]
        assert list(restored(memory, sent)) == spelt(sent)

    def test_is_known_without_its_id_by_the_sealed_reasoning_before_it(self, working):
        sealed = analysis("", encrypted_content=working.encrypted_content("rs_1", "anna"))
        sent = [sealed, replace(LOST_SEARCH, item_id=None)]
        assert list(restored(working, sent)) == spelt([THOUGHT, SEARCH])

    def test_can_be_referred_to_by_its_item(self, done):
        assert asyncio.run(done.items("anna", ["ws_2"])) == {"ws_2": OPEN}

    @pytest.mark.parametrize("text", ["[]", '{"query": {}}', "{", "[" * 5000, '{"query":"owl"}'])
    def test_whatever_a_client_makes_of_a_search_is_no_fault(self, working, text):
        odd = ours("browser.search", text, "x", item_id="ws_1")
        assert list(restored(working, [odd])) == spelt([odd])


@given(item_id=st.text("abcdefrs_0123456789", min_size=1), owner=st.text(max_size=20))
def test_what_was_sealed_is_understood_again(item_id, owner):
    assert SIGNER.verify(SIGNER.sign(item_id, owner), owner) == item_id


def test_another_owner_and_another_key_understand_nothing():
    sealed = SIGNER.sign("rs_1", "anna")
    assert SIGNER.verify(sealed, "berta") is None
    assert ReferenceSigner(b"x" * KEY_BYTES).verify(sealed, "anna") is None


@given(st.text() | st.binary(max_size=80).map(lambda raw: raw.hex()))
def test_any_other_text_means_nothing(text):
    assert SIGNER.verify(text, "anna") is None


def test_a_changed_character_means_nothing():
    sealed = SIGNER.sign("rs_12", "")
    for at in range(0, len(sealed) - 4, 7):
        other = "A" if sealed[at] != "A" else "B"
        assert SIGNER.verify(sealed[:at] + other + sealed[at + 1 :], "") is None


def test_an_endless_text_is_not_even_decoded():
    assert SIGNER.verify("A" * 1028, "") is None


def test_the_key_stays_in_its_folder_for_this_user_alone(tmp_path):
    folder = tmp_path / "state"
    sealed = ReferenceSigner.in_folder(folder).sign("rs_1", "")
    assert ReferenceSigner.in_folder(folder).verify(sealed, "") == "rs_1"
    assert (folder / "seal.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in folder.iterdir()] == ["seal.key"]


def test_half_a_key_is_made_anew(tmp_path):
    (tmp_path / "seal.key").write_bytes(b"short")
    ReferenceSigner.in_folder(tmp_path)
    assert len((tmp_path / "seal.key").read_bytes()) == KEY_BYTES


def test_a_key_of_another_length_is_a_bug():
    with pytest.raises(AssertionError):
        ReferenceSigner(b"short")
