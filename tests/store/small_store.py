"""A clock that a test can turn, rows that say only what matters, and ways to wait."""

from ossia.store.responses import StoredResponse

PATIENCE_SECONDS = 30


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def stored(response_id, *, owner="me", created_at=1_000_000.0, status="in_progress", **others):
    """A response of which a test names only what matters to it."""
    default = {"body": '{"output": []}', "turn": "{}", "previous_id": None, "background": False}
    return StoredResponse(
        response_id=response_id,
        owner=owner,
        created_at=created_at,
        status=status,
        **{**default, **others},
    )


def done(future):
    """What came of a call."""
    return future.result(timeout=PATIENCE_SECONDS)


def settle(database):
    """Let the store tidy until nothing more changes."""

    def count(connection):
        tables = ("responses", "events", "token_memory")
        return [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]

    before, now = None, done(database.submit(count))
    while before != now:  # the store tidies a little after each job
        before, now = now, done(database.submit(count))
    return now
