"""A DATA_DIR with a migrated database, and a copy of it for each test, which is faster than an initdb."""

from pathlib import Path

import psycopg
import pytest

from embedded.postgres import Embedded
from service.postgres.migrations import migrate
from tests.support.data_dir import copy_data_dir


@pytest.fixture(scope="package")
def stopped_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR whose server was stopped; its database is migrated and has the table `kept`."""
    database = Embedded(tmp_path_factory.mktemp("stopped") / "data", print)
    try:
        database.start()
        migrate(database.url)
        with psycopg.connect(database.url) as owner:
            owner.execute("create table kept as select 'here' as word")
    finally:
        database.stop()
    return database.data_dir


@pytest.fixture
def data_dir(stopped_data_dir: Path, tmp_path: Path) -> Path:
    return copy_data_dir(stopped_data_dir, tmp_path / "data-dir")
