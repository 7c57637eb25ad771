import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ossia.errors import StoreError
from ossia.store.opening import open_connection
from ossia.store.schema import APPLICATION_ID, MIGRATIONS

BUSY_SECONDS = 0.05
NOBODY = 65534

HOLD = """
import sys
from pathlib import Path
from ossia.store.opening import open_connection
connection = open_connection(Path(sys.argv[1]), busy_seconds=1)
print("open", flush=True)
sys.stdin.read()
"""


def opened(path, **others):
    return closing(open_connection(path, busy_seconds=BUSY_SECONDS, **others))


def pragma(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_store_is_private_with_all_its_folders_and_logs(path):
    before = os.umask(0)
    try:
        with opened(path):
            files = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert files == {"store.sqlite3": 0o600, "store.sqlite3-wal": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_open_to_others_is_made_private(path):
    with opened(path):
        pass
    path.chmod(0o644)
    with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_committed_is_on_disk_and_what_is_deleted_is_overwritten(path):
    with opened(path) as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "secure_delete") == 1
        assert pragma(connection, "auto_vacuum") == 2  # incremental


def test_a_store_in_memory_has_the_same_tables(path):
    with opened(None) as in_memory, opened(path) as on_disk:
        select = "SELECT name, sql FROM sqlite_master ORDER BY name"
        assert in_memory.execute(select).fetchall() == on_disk.execute(select).fetchall()


def test_an_opened_store_opens_again(path):
    for _ in range(3):
        with opened(path) as connection:
            assert pragma(connection, "application_id") == APPLICATION_ID
            assert pragma(connection, "user_version") == len(MIGRATIONS)


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(path):
    with opened(path) as connection:
        connection.execute(
            "INSERT INTO token_memory (owner, key, value, created_at) VALUES ('me', 'k', 'v', 1)"
        )
    later = (*MIGRATIONS, ("ALTER TABLE token_memory ADD COLUMN used_at REAL",))
    with opened(path, migrations=later) as connection:
        row = connection.execute("SELECT value, used_at FROM token_memory").fetchone()
        assert row == ("v", None)
        assert pragma(connection, "user_version") == len(MIGRATIONS) + 1


def test_a_migration_that_fails_leaves_the_file_as_it_was(path):
    with opened(path):
        pass
    later = (*MIGRATIONS, ("CREATE TABLE new (a)", "CREATE TABLE new (a)"))
    with pytest.raises(StoreError, match="cannot be used: table new already exists"):
        open_connection(path, busy_seconds=BUSY_SECONDS, migrations=later)
    with opened(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert "new" not in names
        assert pragma(connection, "user_version") == len(MIGRATIONS)


def test_a_newer_schema_is_refused_and_left_alone(path):
    with opened(path, migrations=(*MIGRATIONS, ("CREATE TABLE new (a)",))):
        pass
    before = path.read_bytes()
    with pytest.raises(StoreError, match="has schema 2, but this ossia knows schemas up to 1; upd"):
        open_connection(path, busy_seconds=BUSY_SECONDS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE bookmarks (url)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"],
)
def test_the_file_of_another_program_is_refused_and_left_alone(tmp_path, statement):
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another program; choose another file"):
        open_connection(path, busy_seconds=BUSY_SECONDS)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear Sir or Madam, " * 100)
    with pytest.raises(StoreError, match="is damaged or no store"):
        open_connection(path, busy_seconds=BUSY_SECONDS)
    assert path.read_bytes() == b"Dear Sir or Madam, " * 100


def test_a_damaged_store_is_refused(path):
    with opened(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:400] = b"\xff" * 300  # the root of the schema
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged or no store"):
        open_connection(path, busy_seconds=BUSY_SECONDS)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="is not a regular file"):
        open_connection(tmp_path, busy_seconds=BUSY_SECONDS)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened: Not a directory"):
        open_connection(tmp_path / "file" / "store.sqlite3", busy_seconds=BUSY_SECONDS)


def test_a_store_in_use_by_another_process_is_refused_until_that_ends(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match="is in use by another process"):
            open_connection(path, busy_seconds=BUSY_SECONDS)
        other.kill()
    with opened(path):
        pass


def test_a_store_in_use_in_this_process_is_refused_and_stays_locked(path):
    with opened(path):
        for _ in range(2):  # a refused attempt drops no lock
            with pytest.raises(StoreError, match="is in use"):
                open_connection(path, busy_seconds=BUSY_SECONDS)


def test_waits_for_a_lock_no_longer_than_told(path):
    with opened(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is in use"):
            open_connection(path, busy_seconds=BUSY_SECONDS)
        other.execute("ROLLBACK")
    with opened(path):
        pass


@contextmanager
def without_privileges():
    """Root may write everywhere; a test of permissions must not be root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_place_where_nothing_may_be_written_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite3"
        with opened(path):
            pass
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        try:
            with without_privileges(), pytest.raises(StoreError, match="make it writable|read"):
                open_connection(path, busy_seconds=BUSY_SECONDS)
            with without_privileges(), pytest.raises(StoreError, match="make it writable"):
                open_connection(Path(folder) / "new.sqlite3", busy_seconds=BUSY_SECONDS)
        finally:
            Path(folder).chmod(0o755)
