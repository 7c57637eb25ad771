import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ossia.store import responses as responses_file
from ossia.store.database import Database
from ossia.store.responses import ResponseChain, Responses
from ossia.store.retention import Retention
from ossia.store.schema import RUNNING
from tests.store.small_store import Clock, done, stored


@pytest.fixture
def responses(database):
    return Responses(database)


def keep(responses, *all_of_them):
    for response in all_of_them:
        done(responses.begin(response))


def test_a_response_comes_back_as_it_was_kept(responses):
    response = stored(
        "r",
        status="queued",
        body='{"text": "caf\u00e9 \U0001f600 \x00"}',
        turn="[1, 2]",
        previous_id="q",
        background=True,
        created_at=1_000_000.25,
    )
    keep(responses, response)
    assert done(responses.get("r", "me")) == response


def test_finishing_writes_the_last_word(responses):
    keep(responses, stored("r"))
    assert done(responses.finish("r", status="completed", body="[1]", turn="[2]"))
    assert done(responses.get("r", "me")) == stored("r", status="completed", body="[1]", turn="[2]")


def test_the_first_last_word_counts(responses):
    keep(responses, stored("r"))
    assert done(responses.finish("r", status="cancelled", body="[1]", turn="[]"))
    assert not done(responses.finish("r", status="completed", body="[2]", turn="[]"))
    assert done(responses.get("r", "me")).status == "cancelled"


@pytest.mark.parametrize("status", RUNNING)
def test_a_running_status_is_no_end(responses, status):
    with pytest.raises(AssertionError, match="is not a final status"):
        responses.finish("r", status=status, body="{}", turn="{}")


def test_what_was_deleted_meanwhile_stays_deleted(responses):
    keep(responses, stored("r"))
    assert done(responses.delete("r", "me"))
    assert not done(responses.finish("r", status="completed", body="{}", turn="{}"))
    assert not done(responses.append_events("r", [(0, "{}")]))
    assert done(responses.get("r", "me")) is None


def test_an_id_is_kept_once(responses):
    keep(responses, stored("r"))
    with pytest.raises(sqlite3.IntegrityError):
        done(responses.begin(stored("r", owner="you")))
    assert done(responses.get("r", "me")) == stored("r")


def test_another_owner_sees_and_removes_nothing(responses):
    keep(responses, stored("q"), stored("r", previous_id="q"))
    done(responses.append_events("r", [(0, "{}")]))
    assert done(responses.get("r", "you")) is None
    assert done(responses.chain("r", "you")) == ResponseChain([], "r")
    assert done(responses.events("r", "you", -1)) == []
    assert not done(responses.delete("r", "you"))
    assert done(responses.get("r", "me")) is not None


def test_what_is_too_old_is_not_there_even_before_it_is_removed(path, clock):
    """Whatever the tidying does: here it never runs."""
    retention = Retention(max_age_seconds=10, clock=clock)
    with closing(Database(path, retention=retention)) as database:
        database._next_tidy = float("inf")
        responses = Responses(database)
        keep(responses, stored("r", status="completed"), stored("running"))
        done(responses.append_events("r", [(0, "{}")]))
        clock.now += 10
        assert done(responses.get("r", "me")) is not None
        clock.now += 1
        assert done(responses.get("r", "me")) is None
        assert done(responses.chain("r", "me")) == ResponseChain([], "r")
        assert done(responses.events("r", "me", -1)) == []
        assert not done(responses.delete("r", "me"))
        assert done(responses.get("running", "me")) == stored("running")


def test_a_chain_comes_oldest_first(responses):
    links = [stored("0"), *(stored(str(i), previous_id=str(i - 1)) for i in range(1, 5))]
    keep(responses, *links)
    assert done(responses.chain("4", "me")) == ResponseChain(links, None)
    assert done(responses.chain("0", "me")) == ResponseChain(links[:1], None)


def test_a_chain_tells_where_it_breaks_off(responses):
    keep(
        responses,
        stored("foreign", owner="you"),
        stored("1", previous_id="gone"),
        stored("2", previous_id="1"),
        stored("3", previous_id="foreign"),
    )
    assert done(responses.chain("2", "me")).lost == "gone"
    assert [one.response_id for one in done(responses.chain("2", "me")).responses] == ["1", "2"]
    assert done(responses.chain("3", "me")).lost == "foreign"
    assert done(responses.chain("none", "me")) == ResponseChain([], "none")


def test_a_chain_is_bounded(responses):
    links = [stored("0"), *(stored(str(i), previous_id=str(i - 1)) for i in range(1, 1000))]
    for link in links:
        last = responses.begin(link)
    done(last)
    assert done(responses.chain("999", "me", limit=3)) == ResponseChain(links[-3:], "996")
    assert done(responses.chain("999", "me")) == ResponseChain(links, None)


def test_a_chain_is_bounded_in_bytes_but_never_empty(responses, monkeypatch):
    monkeypatch.setattr(responses_file, "MAX_CHAIN_BYTES", 1000)
    large = "x" * 600
    links = [stored("a", body=large), stored("b", body=large, previous_id="a")]
    links.append(stored("c", body=large * 9, previous_id="b"))
    keep(responses, *links)
    assert done(responses.chain("b", "me")) == ResponseChain(links[1:2], "a")
    assert done(responses.chain("c", "me")) == ResponseChain(links[2:], "b")


def test_a_ring_ends(responses):
    ring = [
        stored("a", previous_id="c"),
        stored("b", previous_id="a"),
        stored("c", previous_id="b"),
    ]
    keep(responses, *ring, stored("self", previous_id="self"))
    assert done(responses.chain("c", "me")) == ResponseChain(ring, "c")
    assert done(responses.chain("self", "me")).lost == "self"


def test_events_come_back_above_a_number(responses):
    keep(responses, stored("r", background=True), stored("other"))
    done(responses.append_events("other", [(0, "other")]))
    assert done(responses.append_events("r", [(0, "a"), (1, "b")]))
    assert done(responses.append_events("r", [(2, "c")]))
    assert done(responses.append_events("r", []))
    assert done(responses.events("r", "me", -1)) == [(0, "a"), (1, "b"), (2, "c")]
    assert done(responses.events("r", "me", 1)) == [(2, "c")]
    assert done(responses.events("r", "me", 2)) == []


def test_an_event_is_kept_once_and_its_neighbours_with_it_or_not_at_all(responses):
    keep(responses, stored("r"))
    done(responses.append_events("r", [(0, "a")]))
    with pytest.raises(sqlite3.IntegrityError):
        done(responses.append_events("r", [(1, "b"), (0, "again")]))
    assert done(responses.events("r", "me", -1)) == [(0, "a")]


def test_events_come_in_bounded_portions(responses, monkeypatch):
    keep(responses, stored("r"))
    done(responses.append_events("r", [(i, "x" * 10) for i in range(10)]))
    assert len(done(responses.events("r", "me", -1, limit=3))) == 3
    monkeypatch.setattr(responses_file, "MAX_EVENTS_BYTES", 25)
    assert [number for number, _ in done(responses.events("r", "me", 4))] == [5, 6, 7]


def test_what_an_end_cut_off_is_found_by_the_next_start(path, retention):
    with closing(Database(path, retention=retention)) as database:
        keep(
            Responses(database),
            stored("a"),
            stored("b", owner="you", status="queued"),
            stored("c", status="completed"),
        )
    with closing(Database(path, retention=retention)) as database:
        responses = Responses(database)
        found = done(responses.unfinished())
        assert found == [stored("a"), stored("b", owner="you", status="queued")]
        for response in found:
            failed = {"status": "failed", "body": '{"error": {}}', "turn": response.turn}
            assert done(responses.finish(response.response_id, **failed))
        assert done(responses.unfinished()) == []


IDS = st.sampled_from(["a", "b", "c", "d", "e"])
OWNERS = st.sampled_from(["me", "you"])
TEXTS = st.text(max_size=20)
FINAL = st.sampled_from(["completed", "incomplete", "failed", "cancelled"])
MAX_AGE_SECONDS = 100


class StoreBesideModel(RuleBasedStateMachine):
    """The store and a plain dict, told the same things."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        retention = Retention(max_age_seconds=MAX_AGE_SECONDS, clock=self.clock)
        self.database = Database(None, retention=retention)
        self.responses = Responses(self.database)
        self.model = {}
        self.model_events = {}

    def teardown(self):
        self.database.close()

    def seen(self, response_id, owner):
        """What the model says of a response."""
        response = self.model.get(response_id)
        return response if response and response.owner == owner else None

    @rule(
        response_id=IDS,
        owner=OWNERS,
        body=TEXTS,
        previous_id=st.none() | IDS,
        status=st.sampled_from(RUNNING) | FINAL,
    )
    def begin(self, response_id, owner, **others):
        response = stored(response_id, owner=owner, created_at=self.clock.now, **others)
        future = self.responses.begin(response)
        if response_id in self.model:
            assert isinstance(future.exception(30), sqlite3.IntegrityError)
        else:
            done(future)
            self.model[response_id] = response
            self.model_events[response_id] = []

    @rule(response_id=IDS, status=FINAL, body=TEXTS, turn=TEXTS)
    def finish(self, response_id, **end):
        response = self.model.get(response_id)
        expected = response is not None and response.status in RUNNING
        assert done(self.responses.finish(response_id, **end)) is expected
        if expected:
            self.model[response_id] = replace(response, **end)
            self.forget_the_old()

    @rule(response_id=IDS, owner=OWNERS)
    def delete(self, response_id, owner):
        expected = self.seen(response_id, owner) is not None
        assert done(self.responses.delete(response_id, owner)) is expected
        if expected:
            del self.model[response_id], self.model_events[response_id]

    @rule(response_id=IDS, texts=st.lists(TEXTS, max_size=3))
    def append_events(self, response_id, texts):
        known = self.model_events.get(response_id)
        new = list(enumerate(texts, len(known or [])))
        assert done(self.responses.append_events(response_id, new)) is (known is not None)
        if known is not None:
            known.extend(new)

    @rule(response_id=IDS, owner=OWNERS, after=st.integers(-1, 5), limit=st.integers(1, 3))
    def events(self, response_id, owner, after, limit):
        known = self.model_events[response_id] if self.seen(response_id, owner) else []
        expected = [event for event in known if event[0] > after][:limit]
        assert done(self.responses.events(response_id, owner, after, limit)) == expected

    @rule(response_id=IDS, owner=OWNERS, limit=st.integers(1, 4))
    def chain(self, response_id, owner, limit):
        expected = []
        wanted = response_id
        while len(expected) < limit and (response := self.seen(wanted, owner)):
            if response in expected:
                break
            expected.insert(0, response)
            wanted = response.previous_id
        assert done(self.responses.chain(response_id, owner, limit)) == ResponseChain(
            expected, wanted
        )

    @rule(seconds=st.integers(0, MAX_AGE_SECONDS))
    def wait(self, seconds):
        self.clock.now += seconds
        self.forget_the_old()

    def forget_the_old(self):
        for response in list(self.model.values()):
            is_old = response.created_at < self.clock.now - MAX_AGE_SECONDS
            if is_old and response.status not in RUNNING:
                del self.model[response.response_id], self.model_events[response.response_id]
        # An id may come again only when its row is gone; ids in a server never do.
        while len(done(self.database.submit(self._all_ids))) > len(self.model):
            pass

    @staticmethod
    def _all_ids(connection):
        return connection.execute("SELECT response_id FROM responses").fetchall()

    @invariant()
    def both_hold_the_same(self):
        for response_id in "abcde":
            for owner in ("me", "you"):
                found = done(self.responses.get(response_id, owner))
                assert found == self.seen(response_id, owner)
        running = [one for one in self.model.values() if one.status in RUNNING]
        assert sorted(done(self.responses.unfinished()), key=repr) == sorted(running, key=repr)


@pytest.mark.slow
def test_the_store_does_what_a_dict_would():
    run_state_machine_as_test(
        StoreBesideModel,
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 100), st.booleans()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_beyond_the_size_only_the_youngest_that_ended_and_the_running_stay(rows):
    """However large and old the rows are, and whatever order they come in."""
    clock = Clock()
    limit = 400_000
    with closing(Database(None, retention=Retention(max_bytes=limit, clock=clock))) as database:
        responses = Responses(database)
        running, ended = set(), []
        for i, (num_bytes, age, runs) in enumerate(rows):
            status = "queued" if runs else "failed"
            created_at = clock.now - age
            one = stored(str(i), status=status, created_at=created_at, body="x" * num_bytes)
            responses.begin(one)
            running.add(str(i)) if runs else ended.append((created_at, i, num_bytes))
        remaining = _settled_ids(database)
    assert running <= remaining
    stayed = [row for row in sorted(ended) if str(row[1]) in remaining]
    assert stayed == sorted(ended)[len(ended) - len(stayed) :]
    if len(stayed) < len(ended):  # removed for a reason: all of it would not have fitted
        assert sum(num_bytes for num_bytes, _, _ in rows) > limit - 41_000 - 60 * 4096


def _settled_ids(database):
    before, now = None, set()
    while before != now:
        before, now = (
            now,
            {
                response_id
                for (response_id,) in done(
                    database.submit(
                        lambda connection: connection.execute(
                            "SELECT response_id FROM responses"
                        ).fetchall()
                    )
                )
            },
        )
    return now
