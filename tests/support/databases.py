"""Databases for tests: copies of a migrated one, for a role that may only read and write rows."""

import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

# Several runs may share one server.
RUN = f"{os.getpid()}_{secrets.token_hex(3)}"
_numbers = itertools.count()


class Template(NamedTuple):
    """A migrated database, and the service's role in it and in its copies."""

    server: str
    name: str
    role: str
    password: str
    pooler: str = ""
    """The address of the transaction pooler that the service uses, if any."""

    def owner_url(self, database: str) -> str:
        return at(self.server, database)

    def service_url(self, database: str) -> str:
        parts = urlsplit(at(self.server, database))
        host = self.pooler or parts.netloc.rpartition("@")[2]
        query = "pgbouncer=true" if self.pooler else parts.query
        return parts._replace(netloc=f"{quote(self.role)}:{quote(self.password)}@{host}", query=query).geturl()

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The name of a new copy, which is dropped at the end."""
        with database(self.server, template=self.name) as name:
            yield name


def at(server: str, name: str) -> str:
    """The URL of another database on this server."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()


@contextmanager
def database(server: str, template: str = "template0") -> Iterator[str]:
    """The name of a new database, which is dropped at the end, even if clients are connected."""
    name = f"test_{RUN}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(template)))
        try:
            yield name
        finally:
            owner.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@contextmanager
def role(server: str) -> Iterator[tuple[str, str]]:
    """Name and password of a new role with the right to log in and no others."""
    name, password = f"test_{RUN}_service", secrets.token_hex(16)
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(SQL("create role {} login password {}").format(Identifier(name), Literal(password)))
        try:
            yield name, password
        finally:
            owner.execute(SQL("drop role {}").format(Identifier(name)))
