"""What `python -m service` does: run, migrate, rollback."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from service import migrations
from service.config import Settings, SettingsError, connection, load_settings
from service.database import Database
from service.embedded import Embedded, EmbeddedError
from service.schema import SchemaBehindError, refuse_old_schema
from service.serve import listening_socket, serve


def do(command: str) -> int:
    """Returns the exit status of the process; what a person can mend is one sentence on stderr."""
    try:
        return {"run": run, "migrate": migrate, "rollback": rollback}[command](load_settings())
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (EmbeddedError, migrations.MigrationError, SchemaBehindError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def run(settings: Settings) -> int:
    with listening_socket(settings.host, settings.port) as sock, contextlib.ExitStack() as stack:
        if settings.database_url is None:
            database = stack.enter_context(_embedded(settings))
            for name in migrations.migrate(database.url):
                _say(f"{name} applied")
            # Where create_app reads its settings, in other processes too.
            os.environ["DATABASE_URL"] = database.url
            if settings.better_auth_secret is None:
                os.environ["BETTER_AUTH_SECRET"] = database.secret
        else:
            url, _ = connection(settings)
            asyncio.run(_refuse_old_schema(url))
        return serve(settings, sock, _say)


def migrate(settings: Settings) -> int:
    with _database_to_migrate(settings) as url:
        for name in (names := migrations.migrate(url)):
            _say(f"{name} applied")
        if not names:
            _say("The database's schema is up to date: nothing to do.")
    return 0


def rollback(settings: Settings) -> int:
    with _database_to_migrate(settings) as url:
        for name in (names := migrations.rollback(url)):
            _say(f"{name} taken back")
        if not names:
            _say("The database has no migration to take back: nothing to do.")
    return 0


async def _refuse_old_schema(url: str) -> None:
    database = Database(url)
    try:
        await refuse_old_schema(database)
    finally:
        await database.close()


@contextlib.contextmanager
def _database_to_migrate(settings: Settings) -> Iterator[str]:
    if url := settings.migration_database_url or settings.database_url:
        yield url.get_secret_value()
    else:
        with _embedded(settings) as database:
            yield database.url


@contextlib.contextmanager
def _embedded(settings: Settings) -> Iterator[Embedded]:
    database = Embedded(Path(settings.data_dir), _say)
    try:
        with _signals_wait():
            database.start()
        yield database
    finally:
        with _signals_wait():
            database.stop()


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals are delivered at the end, for none to leave a database running that nobody stops."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        print(text, flush=True)  # noqa: T201 (for the person at the terminal)
