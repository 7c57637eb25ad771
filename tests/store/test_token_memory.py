from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.store.database import Database
from ossia.store.responses import Responses
from ossia.store.retention import Retention
from ossia.store.token_memory import TokenMemory
from tests.store.small_store import Clock, done, settle, stored


@pytest.fixture
def memory(database, clock):
    return TokenMemory(database, clock=clock)


def recalled(memory, *keys, owner="me"):
    return done(memory.recall(owner, keys))


@pytest.mark.parametrize("durable", [True, False])
def test_remembers_by_owner_and_key_until_it_is_taken(memory, durable):
    done(memory.remember("me", {"call:1": "[1]", "item:1": "[2]"}, durable=durable))
    assert recalled(memory, "call:1", "item:1", "call:2") == {"call:1": "[1]", "item:1": "[2]"}
    assert recalled(memory, "call:1", owner="you") == {}
    for owner, key in (("you", "call:1"), ("me", "item:1"), ("me", "call:2")):
        done(memory.take(owner, key))
    assert recalled(memory, "call:1", "item:1") == {"call:1": "[1]"}


@pytest.mark.parametrize("durable", [True, False])
def test_the_newer_value_counts_wherever_the_older_was(memory, durable):
    done(memory.remember("me", {"a": "old"}, durable=not durable))
    done(memory.remember("me", {"a": "new"}, durable=durable))
    assert recalled(memory, "a") == {"a": "new"}


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_taken_is_given_to_one_alone(memory, durable):
    done(memory.remember("me", {"a": "1", "b": "2"}, durable=durable))
    assert done(memory.take("you", "a")) is None
    takes = [memory.take("me", "a") for _ in range(3)]
    assert [done(take) for take in takes] == ["1", None, None]
    assert recalled(memory, "a", "b") == {"b": "2"}


def test_what_is_not_durable_never_touches_the_disk(path, retention):
    with closing(Database(path, retention=retention)) as database:
        memory = TokenMemory(database)
        done(memory.remember("me", {"call:1": "a secret"}, durable=False))
        done(memory.remember("me", {"call:2": "kept"}, durable=True))
        assert recalled(memory, "call:1", "call:2") == {"call:1": "a secret", "call:2": "kept"}
        assert all(b"a secret" not in file.read_bytes() for file in path.parent.iterdir())
    with closing(Database(path, retention=retention)) as database:
        assert recalled(TokenMemory(database), "call:1", "call:2") == {"call:2": "kept"}


def test_what_is_in_memory_is_answered_at_once(memory):
    assert memory.remember("me", {"a": "1"}, durable=False).done()
    assert memory.recall("me", ["a"]).done()


def test_durable_tokens_are_gone_with_their_response(database, memory):
    responses = Responses(database)
    done(responses.begin(stored("r")))
    done(memory.remember("me", {"call:1": "[1]"}, durable=True, response_id="r"))
    done(memory.remember("me", {"text:1": "[2]"}, durable=True))
    assert recalled(memory, "call:1", "text:1") == {"call:1": "[1]", "text:1": "[2]"}
    done(responses.delete("r", "me"))
    assert recalled(memory, "call:1", "text:1") == {"text:1": "[2]"}


def test_a_key_belongs_to_the_response_that_wrote_it_last(database, memory):
    responses = Responses(database)
    for response_id in ("q", "r"):
        done(responses.begin(stored(response_id)))
        done(memory.remember("me", {"text:1": response_id}, durable=True, response_id=response_id))
    done(responses.delete("q", "me"))
    assert recalled(memory, "text:1") == {"text:1": "r"}


@pytest.mark.parametrize("owner", ["me", "you"])
def test_tokens_of_a_response_that_is_gone_are_not_kept(database, memory, owner):
    responses = Responses(database)
    done(responses.begin(stored("r", owner="you")))
    done(responses.delete("r", owner))  # "me" removes nothing, and owns nothing of it
    done(memory.remember("me", {"call:1": "[1]"}, durable=True, response_id="r"))
    assert recalled(memory, "call:1") == {}
    assert settle(database)[2] == 0


def test_tokens_too_old_are_not_there_even_before_they_are_removed(path, clock):
    retention = Retention(max_age_seconds=10, clock=clock)
    with closing(Database(path, retention=retention)) as database:
        database._next_tidy = float("inf")
        memory = TokenMemory(database)
        done(memory.remember("me", {"text:1": "[1]"}, durable=True))
        clock.now += 11
        assert recalled(memory, "text:1") == {}


KEYS = st.sampled_from(["call:1", "item:1", "text:1"])
OWNERS = st.sampled_from(["me", "you"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["remember", "take"]), OWNERS, KEYS, st.text(), st.booleans())
    )
)
@settings(max_examples=60, deadline=None)
def test_the_memory_does_what_a_dict_would(calls):
    with closing(Database(None, retention=Retention(clock=Clock()))) as database:
        memory = TokenMemory(database)
        model = {}
        for call, owner, key, value, durable in calls:
            if call == "take":
                assert done(memory.take(owner, key)) == model.pop((owner, key), None)
            else:
                done(memory.remember(owner, {key: value}, durable=durable))
                model[owner, key] = value
        for owner in ("me", "you"):
            expected = {key: value for (whose, key), value in model.items() if whose == owner}
            assert recalled(memory, "call:1", "item:1", "text:1", owner=owner) == expected
