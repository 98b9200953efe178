"""The commands of `python -m service`: run, migrate, rollback, account."""

import argparse
import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import SecretStr

from service import account_command
from service.app import create_app
from service.config import Settings, SettingsError, connection, load_settings
from service.errors import StartError
from service.postgres import migrations
from service.postgres.schema import refuse_old_schema
from service.telemetry import log
from service.web.server import bound_socket, serve


def do(arguments: argparse.Namespace, stopping: Callable[[], bool]) -> int:
    """Runs the command; returns its exit status: 2 for a bad setting, 1 for another error, told in one sentence."""
    try:
        settings, command = load_settings(), arguments.command
        if command == "account":
            with _owners_url(settings) as url:
                account_command.run(url, arguments.action, arguments.account, arguments.yes, _say)
        elif command == "migrate":
            change_schema(
                settings, migrations.migrate, "applied", "The database's schema is up to date: nothing to do."
            )
        elif command == "rollback":
            change_schema(settings, migrations.rollback, "taken back", "The database has no migration to take back.")
        else:
            run(settings, stopping)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def run(settings: Settings, stopping: Callable[[], bool]) -> None:
    log.start(settings.log_level)
    with bound_socket(settings.host, settings.port) as sock, contextlib.ExitStack() as stack:
        if settings.database_url is None:
            settings = stack.enter_context(_development_database(settings))
            url, _ = connection(settings)
            for name in migrations.migrate(url):
                _say(f"{name} applied")
        else:
            url, _ = connection(settings)
            asyncio.run(refuse_old_schema(url))
        if stopping():
            raise KeyboardInterrupt
        serve(functools.partial(create_app, settings), settings, sock, _say)


def change_schema(settings: Settings, how: Callable[[str], list[str]], done: str, otherwise: str) -> None:
    with _owners_url(settings) as url:
        _say("\n".join(f"{name} {done}" for name in how(url)) or otherwise)


@contextlib.contextmanager
def _owners_url(settings: Settings) -> Iterator[str]:
    """The database as its owner sees it; the development database where none is set, also beside `make run`."""
    if (named := settings.migration_database_url or settings.database_url) is not None:
        yield named.get_secret_value()
        return
    with _development_database(settings, shared=True) as found:
        yield connection(found)[0]


@contextlib.contextmanager
def _development_database(settings: Settings, *, shared: bool = False) -> Iterator[Settings]:
    """Runs the embedded PostgreSQL, or, where it is to be shared, uses the one that runs already; yields the settings
    with its URL and, where none is set, its secret."""
    try:
        from embedded.postgres import Embedded  # not above: production has no such folder
        from embedded.programs import EmbeddedError
    except ModuleNotFoundError:
        connection(settings)
        raise
    embedded = Embedded(Path(settings.data_dir), _say)
    try:
        with _signals_blocked():
            embedded.reach() if shared else embedded.start()
        secret = settings.better_auth_secret or SecretStr(embedded.secret)
        yield settings.model_copy(update={"database_url": SecretStr(embedded.url), "better_auth_secret": secret})
    except EmbeddedError as error:
        raise StartError(str(error)) from error
    finally:
        with _signals_blocked():
            embedded.stop()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Signals are delivered when the block ends, so that none leaves a database running that nobody stops."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        print(text, flush=True)  # noqa: T201 (for the person at the terminal)
