"""The database schema, and the migration from each version to the next."""

APPLICATION_ID = 0x6F737369
"""SQLite's application id of our files: "ossi"."""

RUNNING = ("queued", "in_progress")
"""The statuses of a response that has not ended; the index below repeats them."""

_FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """
    CREATE TABLE responses (
        number INTEGER PRIMARY KEY,
        response_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        created_at REAL NOT NULL,
        status TEXT NOT NULL,
        body TEXT NOT NULL,
        turn TEXT NOT NULL,
        previous_id TEXT,
        background INTEGER NOT NULL
    )
    """,
    """
    CREATE INDEX ended_by_age ON responses (created_at, number)
        WHERE status NOT IN ('queued', 'in_progress')
    """,
    "CREATE INDEX running ON responses (number) WHERE status IN ('queued', 'in_progress')",
    """
    CREATE TABLE events (
        response INTEGER NOT NULL REFERENCES responses (number) ON DELETE CASCADE,
        sequence_number INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (response, sequence_number)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE token_memory (
        number INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        created_at REAL NOT NULL,
        response INTEGER REFERENCES responses (number) ON DELETE CASCADE,
        UNIQUE (owner, key)
    )
    """,
    "CREATE INDEX memory_of_response ON token_memory (response) WHERE response IS NOT NULL",
    """
    CREATE INDEX loose_memory_by_age ON token_memory (created_at, number) WHERE response IS NULL
    """,
)

MIGRATIONS = (_FIRST,)
"""At index n, the migration from version n to n + 1; released ones never change."""
