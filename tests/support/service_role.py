"""The role of sql/role.sql under another name, because roles belong to the whole server."""

from pathlib import Path

import psycopg

ROLE = Path(__file__).parents[2] / "sql" / "role.sql"


def grant(owner: psycopg.Connection, name: str) -> None:
    """Creates the role if it does not exist, and grants its rights in the owner's database."""
    owner.execute(ROLE.read_text("utf-8").replace("todo_service", name).encode())
