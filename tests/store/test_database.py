import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from ossia.errors import StoreError
from ossia.store import database as database_file
from ossia.store.database import Database
from ossia.store.responses import Responses
from ossia.store.retention import Retention
from ossia.store.token_memory import TokenMemory
from tests.store.small_store import Clock, done, settle, stored


def put(key, value="v"):
    """A job that writes one row."""
    return lambda connection: connection.execute(
        "INSERT INTO token_memory (owner, key, value, created_at) VALUES ('me', ?, ?, 1000000)",
        (key, value),
    )


def keys(connection):
    return {key for (key,) in connection.execute("SELECT key FROM token_memory")}


class BusyWriter:
    """Keeps the store's thread busy, so that what a test submits waits together."""

    def __init__(self, database):
        self._release = threading.Event()
        self._begun = threading.Event()
        self._job = database.submit(self._hold)
        assert self._begun.wait(30)

    def _hold(self, connection):
        self._begun.set()
        assert self._release.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._release.set()
        done(self._job)


def traced(database):
    """The statements that SQLite is given from now on."""
    statements = []
    done(database.submit(lambda connection: connection.set_trace_callback(statements.append)))
    return statements


def commits_among_inserts(statements):
    places = [
        i for i, statement in enumerate(statements) if statement.lstrip().startswith("INSERT")
    ]
    return statements[places[0] : places[-1]].count("COMMIT")


def test_a_job_answers_with_what_it_returned(database):
    assert done(database.submit(lambda connection: 37 + 48)) == 85


def test_jobs_are_done_in_the_order_they_came(database):
    order = []
    futures = [database.submit(lambda _, i=i: order.append(i)) for i in range(1000)]
    for future in futures:
        done(future)
    assert order == list(range(1000))


def test_what_waits_together_is_committed_together(database):
    statements = traced(database)
    with BusyWriter(database):
        futures = [database.submit(put(str(i))) for i in range(database_file.MAX_GROUP_JOBS)]
    for future in futures:
        done(future)
    assert commits_among_inserts(statements) == 0
    assert len(done(database.submit(keys))) == len(futures)


def test_one_commit_carries_a_bounded_number_of_jobs_and_bytes(path, retention):
    with closing(Database(path, retention=retention, max_waiting_bytes=2**40)) as database:
        for num_jobs, num_bytes in [
            (database_file.MAX_GROUP_JOBS + 1, 0),
            (3, database_file.MAX_GROUP_BYTES // 2),
        ]:
            statements = traced(database)
            with BusyWriter(database):
                futures = [
                    database.submit(put(f"{num_jobs} {i}"), num_bytes=num_bytes)
                    for i in range(num_jobs)
                ]
            for future in futures:
                done(future)
            assert commits_among_inserts(statements) >= 1


def test_a_write_is_on_disk_when_its_future_resolves(path, retention):
    with closing(Database(path, retention=retention)) as database:
        done(database.submit(put("k")))
        copy = path.with_name("copy.sqlite3")
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(
                path.with_name(path.name + suffix).read_bytes()
            )
    with closing(sqlite3.connect(copy)) as connection:
        assert keys(connection) == {"k"}


def test_a_failed_job_fails_its_own_caller_only(database):
    with BusyWriter(database):
        before = database.submit(put("before"))
        twice = database.submit(put("before"))
        broken = database.submit(lambda connection: 1 // 0)
        half = database.submit(lambda connection: (put("half")(connection), 1 // 0))
        surrogate = database.submit(put("\ud800"))
        after = database.submit(put("after"))
    done(before)
    done(after)
    for future, error in [
        (twice, sqlite3.IntegrityError),
        (broken, ZeroDivisionError),
        (half, ZeroDivisionError),
        (surrogate, UnicodeEncodeError),
    ]:
        with pytest.raises(error):
            done(future)
    assert done(database.submit(keys)) == {"before", "after"}


def test_a_job_that_ends_the_transaction_fails_alone(database):
    """A bug of ours: it may cost its caller the answer, never the store its thread."""

    def commits_and_fails(connection):
        connection.execute("COMMIT")
        raise ZeroDivisionError

    with BusyWriter(database):
        before = database.submit(put("before"))
        failing = database.submit(commits_and_fails)
        silent = database.submit(lambda connection: connection.execute("ROLLBACK"))
    with pytest.raises(sqlite3.IntegrityError):  # committed by the first attempt
        done(before)
    with pytest.raises(ZeroDivisionError):
        done(failing)
    with pytest.raises(StoreError, match="no such savepoint"):
        done(silent)
    assert done(database.submit(keys)) == {"before"}


def test_a_waiting_write_cannot_be_cancelled(database):
    with BusyWriter(database):
        future = database.submit(put("k"))
        assert not future.cancel()
    done(future)
    assert done(database.submit(keys)) == {"k"}


def test_too_many_waiting_jobs_are_refused(path, retention):
    with closing(Database(path, retention=retention, max_waiting=2)) as database:
        with BusyWriter(database):
            taken = [database.submit(put(str(i))) for i in range(2)]
            refused = database.submit(put("2"))
            with pytest.raises(StoreError, match="2 jobs of 0 bytes wait .* try again later"):
                done(refused)
        for future in taken:
            done(future)
        assert done(database.submit(keys)) == {"0", "1"}


def test_too_many_waiting_bytes_are_refused_and_counted_down_again(path, retention):
    with closing(Database(path, retention=retention, max_waiting_bytes=100)) as database:
        for _ in range(3):
            with BusyWriter(database):
                taken = database.submit(put("k"), num_bytes=100)
                with pytest.raises(StoreError, match="1 jobs of 100 bytes"):
                    done(database.submit(put("l"), num_bytes=1))
            done(taken)
            done(database.submit(lambda connection: connection.execute("DELETE FROM token_memory")))


def test_closing_finishes_what_waits(path, retention):
    database = Database(path, retention=retention)
    futures = [database.submit(put(str(i))) for i in range(600)]
    database.close()
    database.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(StoreError, match="was closed"):
        done(database.submit(keys))
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no log is left
    with closing(Database(path, retention=retention)) as database:
        assert len(done(database.submit(keys))) == 600


def test_a_refused_file_leaves_no_thread(path):
    with closing(Database(path)):
        before = threading.active_count()
        with pytest.raises(StoreError, match="is in use"):
            Database(path, busy_seconds=0.01)
        assert threading.active_count() == before


def limit_pages(database, num_pages):
    """As if the disk were full beyond so many pages."""
    done(
        database.submit(lambda connection: connection.execute(f"PRAGMA max_page_count={num_pages}"))
    )


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(database):
    done(database.submit(put("old")))
    limit_pages(database, 40)
    with BusyWriter(database):
        futures = {
            "before": database.submit(put("before")),
            "large": database.submit(put("large", "x" * 400_000)),
            "after": database.submit(put("after")),
        }
        reading = database.submit(keys)
    assert done(reading) == {"old", "before", "after"}
    with pytest.raises(StoreError, match="database or disk is full; see to its disk"):
        done(futures["large"])
    done(futures["before"])
    done(futures["after"])
    limit_pages(database, 2**30)
    done(database.submit(put("large", "x" * 400_000)))
    assert done(database.submit(keys)) == {"old", "before", "after", "large"}


def read_only(database, flag):
    done(database.submit(lambda connection: connection.execute(f"PRAGMA query_only = {flag}")))


def test_a_disk_that_became_read_only_fails_writes_and_still_answers(database):
    done(database.submit(put("old")))
    read_only(database, 1)
    with BusyWriter(database):
        writing = [database.submit(put(str(i))) for i in range(20)]
        reading = database.submit(keys)
    assert done(reading) == {"old"}
    for future in writing:
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            done(future)
    read_only(database, 0)
    done(database.submit(put("new")))
    assert done(database.submit(keys)) == {"old", "new"}


OUTGROW = """
import resource, sys
from pathlib import Path
from ossia.errors import StoreError
from ossia.store.database import Database
from ossia.store.token_memory import TokenMemory

database = Database(Path(sys.argv[1]))
memory = TokenMemory(database)
value = "x" * 20_000
memory.remember("me", {"first": value}, durable=True).result()
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, most))
refused = 0
for i in range(40):
    try:
        memory.remember("me", {str(i): value}, durable=True).result()
    except StoreError as error:
        refused += 1
assert 5 < refused < 40, refused
assert memory.recall("me", ["first"]).result() == {"first": value}
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
memory.remember("me", {"last": value}, durable=True).result()
found = memory.recall("me", map(str, range(40))).result()
assert len(found) == 40 - refused, (len(found), refused)
database.close()
print("refused", refused)
"""


def test_a_log_that_cannot_grow_fails_writes_until_it_can(path):
    """The system refuses to write beyond a size, as a full disk or a quota would."""
    run = subprocess.run(
        [sys.executable, "-c", OUTGROW, str(path)], capture_output=True, text=True, timeout=50
    )
    assert run.stdout.startswith("refused"), run.stderr
    with closing(Database(path)) as database:
        memory = TokenMemory(database)
        assert done(memory.recall("me", ["first", "last"])).keys() == {"first", "last"}


def test_a_damaged_page_fails_those_who_read_it(path, retention):
    with closing(Database(path, retention=retention)) as database:
        responses = Responses(database)
        for i in range(200):
            done(responses.begin(stored(f"r{i}", body="x" * 3000)))
    content = bytearray(path.read_bytes())
    for page in range(40, 60):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(content)
    with closing(Database(path, retention=retention)) as database:
        responses = Responses(database)
        with BusyWriter(database):
            futures = [responses.get(f"r{i}", "me") for i in range(200)]
        failed = [future for future in futures if future.exception(30)]
        assert 0 < len(failed) < 100
        for future in failed:
            with pytest.raises(StoreError, match="malformed"):
                done(future)


def test_a_store_that_is_left_alone_tidies_itself(path):
    clock = Clock()
    retention = Retention(max_age_seconds=10, clock=clock)
    with closing(Database(path, retention=retention, tidy_seconds=0.01)) as database:
        done(Responses(database).begin(stored("r", status="completed")))
        removed = threading.Event()
        done(
            database.submit(
                lambda connection: connection.set_trace_callback(
                    lambda statement: removed.set() if "DELETE" in statement else None
                )
            )
        )
        clock.now += 11
        assert removed.wait(30)


def test_tidying_that_fails_is_told_once_and_tried_again_later(path, clock, caplog):
    retention = Retention(max_age_seconds=10, clock=clock)
    with closing(Database(path, retention=retention, tidy_seconds=0.2)) as database:
        done(Responses(database).begin(stored("r", status="completed")))
        read_only(database, 1)
        clock.now += 11
        for _ in range(20):
            done(database.submit(keys))
        assert 1 <= caplog.text.count("could not be tidied: attempt to write a readonly") <= 3
        read_only(database, 0)
        gone = threading.Event()
        done(
            database.submit(
                lambda connection: connection.set_trace_callback(
                    lambda statement: gone.set() if "DELETE" in statement else None
                )
            )
        )
        assert gone.wait(30)
        assert settle(database) == [0, 0, 0]
