"""Checks that the database has all migrations that this code needs."""

from pathlib import Path

import asyncpg

from service.errors import ApiError, StartError
from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import SQL

MIGRATIONS = Path(__file__).parents[2] / "sql" / "migrations"
START_SECONDS = 3.0


async def refuse_old_schema(url: str) -> None:
    """Raises StartError where a migration is missing.

    A schema that is ahead is served, for that is how a rolling deploy looks from the old side; and a database that is
    away must not keep the service from starting.
    """
    pool = Pool(url)
    try:
        row = await pool.fetch_one(SQL.applied_migrations, deadline=deadline_after(START_SECONDS))
        applied = set(row["names"] or ())
    except asyncpg.UndefinedTableError:
        applied = set()
    except ApiError:
        return
    finally:
        await pool.close()
    missing = sorted(names() - applied)
    if missing:
        raise StartError(
            f"The database's schema is behind, {missing[0]} is missing:"
            " run `make migrate`, or in a container `python -m service migrate`."
        )


def names() -> set[str]:
    """The names of the migrations that this code comes with."""
    return {path.stem for path in MIGRATIONS.glob("*.sql") if not path.stem.endswith(".rollback")}
