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


class AccountError(StartError):
    """Nothing was shown or changed."""


class Accounts:
    """One connection; each method is a transaction and returns what the operator is told."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def show(self, name: str) -> str:
        with self._account(name) as account:
            attempts = self._attempts(account)
            lines = {
                "id": account["id"],
                "e-mail": account["email"] or "none: logs in with Better Auth",
                "created": _time(account["created_at"]),
                "tasks": len(self._tasks(account)),
                "tokens valid from": _time(account["tokens_valid_from"]) or "any time",
                "failed log-ins": sum(each["attempts"] for each in attempts if each["expires_at"] > datetime.now(UTC)),
            }
        return "\n".join(f"{label}: {value}" for label, value in lines.items())

    def export(self, name: str) -> str:
        """Everything that is stored about the person, except the password's hash, as one JSON document."""
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with self._account(name) as account:
            document = {
                "account": {key: account[key] for key in ("id", "email")}
                | {"created_at": _time(account["created_at"])},
                "tokens_valid_from": _time(account["tokens_valid_from"]),
                "tasks": self._tasks(account),
                "log_ins": [
                    {"failed": each["attempts"], "kept_until": _time(each["expires_at"])}
                    for each in self._attempts(account)
                ],
            }
        return json.dumps(document, ensure_ascii=False, indent=2)

    def set_password(self, name: str, password: str) -> str:
        try:
            stored = bcrypt.hashpw(new_password(password).encode(), bcrypt.gensalt(COST)).decode()
        except PydanticCustomError as error:
            raise AccountError(f"{error.message()}.") from None
        with self._account(name) as account:
            if account["email"] is None:
                raise AccountError("This account logs in with Better Auth and has no password here.")
            self._forget_attempts(account)
            self._execute(SQL.set_password, account["id"], stored)
            self._execute(SQL.end_tokens, account["id"])
        return f"The password is set. {ENDED}"

    def sign_out(self, name: str) -> str:
        with self._account(name) as account:
            self._execute(SQL.end_tokens, account["id"])
        return f"The account is signed out. {ENDED}"

    def delete(self, name: str) -> str:
        with self._account(name) as account:
            self._forget_attempts(account)
            self._execute(SQL.delete_account, account["id"])
            self._execute(SQL.end_tokens, account["id"])
        return f"The account is deleted. {ENDED}"

    @contextlib.contextmanager
    def _account(self, name: str) -> Iterator[dict[str, Any]]:
        """The account with this e-mail or id, in a transaction."""
        try:
            name = normalise_email(name)
        except EmailNotValidError:
            name = name.strip().lower()
        with self._connection.transaction():
            self._execute(SQL.limit_waits)
            found = self._execute(SQL.find_account, name)
            if not found:
                raise AccountError("There is no account with this e-mail or id.")
            yield found[0]

    def _tasks(self, account: dict[str, Any]) -> list[Any]:
        return cast(list[Any], json.loads(self._execute(SQL.list_tasks, account["id"])[0]["body"])["tasks"])

    def _attempts(self, account: dict[str, Any]) -> list[dict[str, Any]]:
        return self._execute(SQL.find_account_attempts, account_key(account["email"])) if account["email"] else []

    def _forget_attempts(self, account: dict[str, Any]) -> None:
        if account["email"]:
            self._execute(SQL.delete_account_attempts, account_key(account["email"]))

    def _execute(self, query: Query, *values: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(query.sql.encode(), values)
        return cursor.fetchall() if cursor.description else []


def run(url: str, action: str, name: str, confirmed: bool, say: Callable[[str], None]) -> None:
    """Raises AccountError."""
    with _connect(url) as connection:
        accounts = Accounts(connection)
        if action == "set-password":
            say(accounts.set_password(name, _read_password()))
        elif action == "delete":
            if not confirmed:
                say(accounts.show(name))
                _confirm("Delete this account with its tasks? [y/N] ")
            say(accounts.delete(name))
        else:
            say({"show": accounts.show, "export": accounts.export, "sign-out": accounts.sign_out}[action](name))


@contextlib.contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    parameters = {"connect_timeout": CONNECT_SECONDS} | connection_string.direct(url).libpq
    try:
        with psycopg.connect(make_conninfo(**parameters), autocommit=True, row_factory=dict_row) as connection:
            connection.cursor_factory = psycopg.RawCursor
            yield connection
    except psycopg.errors.InsufficientPrivilege:
        raise AccountError(
            "This role may not do that: set MIGRATION_DATABASE_URL to the role that owns the tables."
        ) from None
    except psycopg.errors.UndefinedTable:
        raise AccountError("The database's schema is behind: run `make migrate`.") from None
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise AccountError(f"The database cannot be used: {reason}") from error


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass("New password: ")
    if getpass("Once more: ") != password:
        raise AccountError("The two passwords differ: nothing was changed.")
    return password


def _confirm(question: str) -> None:
    try:
        answer = input(question)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise AccountError("Nothing was deleted.")


def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None
