"""A store on disk with a clock that a test can turn."""

import pytest

from ossia.store.database import Database
from ossia.store.retention import Retention
from tests.store.small_store import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def retention(clock):
    return Retention(max_age_seconds=1000.0, clock=clock)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "store.sqlite3"


@pytest.fixture
def database(retention, path):
    database = Database(path, retention=retention)
    yield database
    database.close()
