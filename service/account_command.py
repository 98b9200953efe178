"""`python -m service account …`: what an operator does with one account, with the role that owns the tables."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from getpass import getpass
from typing import Any, cast

import bcrypt
import psycopg
from email_validator import EmailNotValidError
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from pydantic_core import PydanticCustomError

from service.auth.login_limits import account_key
from service.auth.passwords import COST
from service.errors import StartError
from service.postgres import connection_string
from service.postgres.queries import SQL, Query
from service.users import new_password, normalise_email

CONNECT_SECONDS = "10"
ENDED = "Its tokens end within 30 seconds."


class Account:
    """One account within a transaction. Each method returns what the operator is told."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]], name: str) -> None:
        """Finds the account by its e-mail or id."""
        try:
            name = normalise_email(name)
        except EmailNotValidError:
            name = name.strip().lower()
        self._connection = connection
        self._execute(SQL.limit_waits)
        found = self._execute(SQL.find_account, name)
        if not found:
            raise StartError("There is no account with this e-mail or id.")
        self._row = found[0]
        self._id, self._email = self._row["id"], self._row["email"]

    def show(self) -> str:
        lines = {
            "id": self._id,
            "e-mail": self._email or "none: logs in with Better Auth",
            "created": _time(self._row["created_at"]),
            "tasks": len(self._tasks()),
            "tokens valid from": _time(self._row["tokens_valid_from"]) or "any time",
            "failed log-ins": sum(
                each["attempts"] for each in self._attempts() if each["expires_at"] > datetime.now(UTC)
            ),
        }
        return "\n".join(f"{label}: {value}" for label, value in lines.items())

    def export(self) -> str:
        """Everything that is stored about the person, except the password's hash, as one JSON document."""
        document = {
            "account": {"id": self._id, "email": self._email, "created_at": _time(self._row["created_at"])},
            "tokens_valid_from": _time(self._row["tokens_valid_from"]),
            "tasks": self._tasks(),
            "log_ins": [
                {"failed": each["attempts"], "kept_until": _time(each["expires_at"])} for each in self._attempts()
            ],
        }
        return json.dumps(document, ensure_ascii=False, indent=2)

    def set_password(self, password: str) -> str:
        try:
            stored = bcrypt.hashpw(new_password(password).encode(), bcrypt.gensalt(COST)).decode()
        except PydanticCustomError as error:
            raise StartError(f"{error.message()}.") from None
        if not self._email:
            raise StartError("This account logs in with Better Auth and has no password here.")
        self._forget_attempts()
        self._execute(SQL.set_password, self._id, stored)
        self._execute(SQL.end_tokens, self._id)
        return f"The password is set. {ENDED}"

    def sign_out(self) -> str:
        self._execute(SQL.end_tokens, self._id)
        return f"The account is signed out. {ENDED}"

    def delete(self) -> str:
        self._forget_attempts()
        self._execute(SQL.delete_account, self._id)
        self._execute(SQL.end_tokens, self._id)
        return f"The account is deleted. {ENDED}"

    def _tasks(self) -> list[Any]:
        return cast(list[Any], json.loads(self._execute(SQL.list_tasks, self._id)[0]["body"])["tasks"])

    def _attempts(self) -> list[dict[str, Any]]:
        return self._execute(SQL.find_account_attempts, account_key(self._email)) if self._email else []

    def _forget_attempts(self) -> None:
        if self._email:
            self._execute(SQL.delete_account_attempts, account_key(self._email))

    def _execute(self, query: Query, *values: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(query.sql.encode(), values)
        return cursor.fetchall() if cursor.description else []


def run(url: str, action: str, name: str, confirmed: bool, say: Callable[[str], None]) -> None:
    """Raises StartError where nothing was shown or changed."""
    with _connect(url) as connection:
        password = _read_password() if action == "set-password" else ""
        if action == "delete" and not confirmed:
            with connection.transaction():
                say(Account(connection, name).show())
            _confirm("Delete this account with its tasks? [y/N] ")
        if action == "export":  # all of it as it was at one moment
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            account = Account(connection, name)
            actions: dict[str, Callable[[], str]] = {
                "show": account.show,
                "export": account.export,
                "set-password": lambda: account.set_password(password),
                "sign-out": account.sign_out,
                "delete": account.delete,
            }
            said = actions[action]()
        say(said)


@contextlib.contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    parameters = {"connect_timeout": CONNECT_SECONDS} | connection_string.direct(url).libpq
    try:
        with psycopg.connect(make_conninfo(**parameters), autocommit=True, row_factory=dict_row) as connection:
            connection.cursor_factory = psycopg.RawCursor
            yield connection
    except psycopg.errors.InsufficientPrivilege:
        raise StartError(
            "This role may not do that: set MIGRATION_DATABASE_URL to the role that owns the tables."
        ) from None
    except psycopg.errors.UndefinedTable:
        raise StartError("The database's schema is behind: run `make migrate`.") from None
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise StartError(f"The database cannot be used: {reason}") from error


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass("New password: ")
    if getpass("Once more: ") != password:
        raise StartError("The two passwords differ: nothing was changed.")
    return password


def _confirm(question: str) -> None:
    try:
        answer = input(question)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise StartError("Nothing was deleted.")


def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None
