"""What `python -m service` does: run, migrate, rollback."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import SecretStr

from embedded.postgres import Embedded, EmbeddedError
from service import migrations
from service.config import Settings, SettingsError, connection, load_settings
from service.database import Database
from service.schema import SchemaBehindError, refuse_old_schema
from service.serve import listening_socket, serve


def do(command: str) -> int:
    """Returns the exit status of the process; what a person can mend is one sentence on stderr."""
    try:
        settings = load_settings()
        if command == "migrate":
            change(settings, migrations.migrate, "applied", "The database's schema is up to date: nothing to do.")
        elif command == "rollback":
            change(settings, migrations.rollback, "taken back", "The database has no migration to take back.")
        else:
            run(settings)
    except (SettingsError, EmbeddedError, migrations.MigrationError, SchemaBehindError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def run(settings: Settings) -> None:
    with (
        listening_socket(settings.host, settings.port) as sock,
        _database(settings, settings.database_url) as url,
    ):
        if settings.database_url is None:
            for name in migrations.migrate(url):
                _say(f"{name} applied")
        else:
            connection(settings)
            asyncio.run(_refuse_old_schema(url))
        serve(settings, sock, _say)


def change(settings: Settings, how: Callable[[str], list[str]], done: str, otherwise: str) -> None:
    with _database(settings, settings.migration_database_url or settings.database_url) as url:
        _say("\n".join(f"{name} {done}" for name in how(url)) or otherwise)


async def _refuse_old_schema(url: str) -> None:
    database = Database(url)
    try:
        await refuse_old_schema(database)
    finally:
        await database.close()


@contextlib.contextmanager
def _database(settings: Settings, named: SecretStr | None) -> Iterator[str]:
    """The URL of the database that is named; without a name, of the development database, which runs meanwhile."""
    if named:
        yield named.get_secret_value()
        return
    embedded = Embedded(Path(settings.data_dir), _say)
    try:
        with _signals_wait():
            embedded.start()
        # Where create_app reads its settings, in other processes too.
        os.environ["DATABASE_URL"] = embedded.url
        if settings.better_auth_secret is None:
            os.environ["BETTER_AUTH_SECRET"] = embedded.secret
        yield embedded.url
    finally:
        with _signals_wait():
            embedded.stop()


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
