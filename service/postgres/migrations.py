"""`make migrate` and `make rollback`: yoyo behind a PostgreSQL advisory lock.

yoyo's own lock is a committed row, which stays after a run that was killed. An advisory lock ends with its session. The
run that holds the advisory lock is the only one, so it removes yoyo's row before it starts.
"""

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from yoyo import get_backend, read_migrations
from yoyo.backends import DatabaseBackend
from yoyo.exceptions import BadMigration
from yoyo.migrations import MigrationList

from service.errors import StartError
from service.postgres import connection_string
from service.postgres.queries import SQL
from service.postgres.schema import MIGRATIONS


def migrate(url: str) -> list[str]:
    """Applies the missing migrations, the oldest first; returns the names. Raises StartError."""
    with _locked(url) as (backend, migrations):
        missing = backend.to_apply(migrations)
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def rollback(url: str) -> list[str]:
    """Takes back the newest migration; returns its name, or nothing where there is none. Raises StartError."""
    with _locked(url) as (backend, migrations):
        newest = backend.to_rollback(migrations)[:1]
        backend.rollback_migrations(newest)
        return [migration.id for migration in newest]


@contextlib.contextmanager
def _locked(url: str) -> Iterator[tuple[DatabaseBackend, MigrationList]]:
    target = connection_string.direct(url)
    _ensure_user_name()
    try:
        with psycopg.connect(make_conninfo(**target.libpq), autocommit=True) as session:
            session.execute(SQL.limit_lock_waits.sql)
            session.execute(SQL.lock_migrations.sql)
            with get_backend(target.yoyo_url) as backend:
                backend.break_lock()
                yield backend, read_migrations(str(MIGRATIONS))
    except BadMigration as error:
        raise StartError(f"{Path(str(error)).stem} was not applied: see its -- depends: line.") from error
    except psycopg.errors.LockNotAvailable:
        raise StartError("Somebody else holds a lock for too long: try again when the database is less busy.") from None
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise StartError(f"The database cannot be used: {reason}") from error


def _ensure_user_name() -> None:
    """yoyo records who applied a migration; in a container the user often has a number and no name."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # up to Python 3.12, from 3.13 on
        os.environ["LOGNAME"] = str(os.getuid())
