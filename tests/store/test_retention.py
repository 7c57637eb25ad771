from contextlib import closing

from ossia.store import database as database_file
from ossia.store import retention as retention_file
from ossia.store.database import Database
from ossia.store.responses import Responses
from ossia.store.retention import Retention, used_bytes
from ossia.store.token_memory import TokenMemory
from tests.store.small_store import Clock, done, settle, stored

KILOBYTES_64 = "x" * 65536


def ids(database):
    rows = done(
        database.submit(
            lambda connection: connection.execute("SELECT response_id FROM responses").fetchall()
        )
    )
    return {response_id for (response_id,) in rows}


def test_what_is_too_old_goes_with_its_events_and_tokens(database, clock):
    responses, memory = Responses(database), TokenMemory(database)
    done(responses.begin(stored("old", status="completed", created_at=clock.now - 1001)))
    done(responses.append_events("old", [(0, "{}"), (1, "{}")]))
    done(memory.remember("me", {"call:1": "[1]"}, durable=True, response_id="old"))
    done(responses.begin(stored("young", status="completed", created_at=clock.now - 999)))
    assert settle(database) == [1, 0, 0]
    assert ids(database) == {"young"}


def test_what_runs_is_never_removed(retention, path):
    bounded = Retention(max_age_seconds=10, max_bytes=0, clock=retention.clock)
    with closing(Database(path, retention=bounded)) as database:
        responses = Responses(database)
        for status in ("queued", "in_progress"):
            done(responses.begin(stored(status, status=status, created_at=0.0)))
        settle(database)
        assert ids(database) == {"queued", "in_progress"}
        done(responses.finish("queued", status="completed", body="{}", turn="{}"))
        settle(database)
        assert ids(database) == {"in_progress"}


def test_beyond_the_size_the_oldest_go_first(path):
    clock = Clock()
    bounded = Retention(max_bytes=2**20, clock=clock)
    with closing(Database(path, retention=bounded)) as database:
        responses, memory = Responses(database), TokenMemory(database)
        for i in range(100):
            clock.now += 1
            done(
                responses.begin(
                    stored(str(i), status="completed", created_at=clock.now, body=KILOBYTES_64)
                )
            )
            done(memory.remember("me", {f"text:{i}": "[1]"}, durable=True))
        settle(database)
        remaining = ids(database)
        assert remaining == {str(i) for i in range(100 - len(remaining), 100)}
        assert len(remaining) > 10
        assert done(database.submit(used_bytes)) <= bounded.max_bytes
        known = done(memory.recall("me", [f"text:{i}" for i in range(100)]))
        oldest = 100 - len(known)
        assert known.keys() == {f"text:{i}" for i in range(oldest, 100)}
        assert abs(oldest - (100 - len(remaining))) <= 1


def test_loose_tokens_age_and_those_of_a_response_go_with_it(database, clock):
    responses, memory = Responses(database), TokenMemory(database)
    done(memory.remember("me", {"text:1": "[1]"}, durable=True))
    done(responses.begin(stored("r", created_at=clock.now)))
    done(memory.remember("me", {"call:1": "[2]"}, durable=True, response_id="r"))
    clock.now += 1001
    assert settle(database) == [1, 0, 1]  # the response runs
    done(responses.finish("r", status="completed", body="{}", turn="{}"))
    assert settle(database) == [0, 0, 0]


def removed_by_one_transaction(database):
    """How many responses a pass over the oldest removes, and whether it says there are more."""

    def remove(connection):
        select = "SELECT count(*) FROM responses"
        before = connection.execute(select).fetchone()[0]
        more = retention_file.remove_oldest(connection, database.retention)
        return before - connection.execute(select).fetchone()[0], more

    return done(database.submit(remove))


def without_tidying(path, retention):
    database = Database(path, retention=retention)
    database._next_tidy = float("inf")
    done(database.submit(used_bytes))  # a pass that had begun is over
    return closing(database)


def test_one_transaction_removes_a_bounded_number_of_rows(path, clock, retention, monkeypatch):
    monkeypatch.setattr(retention_file, "MAX_REMOVED", 16)
    with without_tidying(path, retention) as database:
        responses = Responses(database)
        for i in range(40):
            done(responses.begin(stored(str(i), status="completed", created_at=clock.now)))
        clock.now += 1001
        steps = [removed_by_one_transaction(database) for _ in range(4)]
    assert steps == [(16, True), (16, True), (8, True), (0, False)]


def test_one_transaction_frees_a_bounded_number_of_bytes(path, clock, retention, monkeypatch):
    monkeypatch.setattr(retention_file, "MAX_FREED_BYTES", 4 * 65536)
    with without_tidying(path, retention) as database:
        responses = Responses(database)
        for i in range(10):
            clock.now += 1
            one = stored(str(i), status="completed", created_at=clock.now, body=KILOBYTES_64)
            done(responses.begin(one))
        clock.now += 1000  # the last one may stay
        steps = [removed_by_one_transaction(database) for _ in range(3)]
    assert steps == [(4, True), (4, True), (1, False)]


def test_a_busy_store_does_not_outgrow_its_bound(path, clock):
    """Rows come as fast as they can, and the oldest go as fast."""
    bounded = Retention(max_bytes=2**20, clock=clock)
    sizes = []
    with closing(Database(path, retention=bounded, max_waiting=10_000)) as database:
        responses = Responses(database)
        for i in range(4000):
            one = stored(str(i), status="completed", created_at=clock.now, body="x" * 5000)
            responses.begin(one)
            if i % 50 == 0:
                sizes.append(database.submit(used_bytes))
        largest = max(done(size) for size in sizes)
    one_group = database_file.MAX_GROUP_JOBS * 3 * 4096  # 5,000 bytes lie in two or three pages
    assert 2**20 < largest <= 2**20 + 2 * one_group


def test_the_file_shrinks_when_much_was_removed(path, clock):
    with closing(Database(path, retention=Retention(clock=clock))) as database:
        responses = Responses(database)
        for i in range(400):
            one = stored(str(i), status="completed", created_at=clock.now, body=KILOBYTES_64)
            responses.begin(one)
        done(responses.begin(stored("last", status="completed", created_at=clock.now)))
        clock.now += 31 * 86400
        settle(database)
        free = 2 * retention_file.SLACK_PAGES
        while free > retention_file.SLACK_PAGES:
            free = done(
                database.submit(
                    lambda connection: connection.execute("PRAGMA freelist_count").fetchone()[0]
                )
            )
    assert path.stat().st_size < (retention_file.SLACK_PAGES + 100) * 4096
