"""The role that sql/role.sql makes, under another name, because a server knows its roles in all databases."""

from pathlib import Path

import psycopg

ROLE = Path(__file__).parents[2] / "sql" / "role.sql"


def grant(owner: psycopg.Connection, name: str) -> None:
    """Makes the role, if there is none of that name, and gives it its rights in the owner's database."""
    owner.execute(ROLE.read_text("utf-8").replace("todo_service", name).encode())
