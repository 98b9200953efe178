"""The REST backend of a multi-user todo application: raw SQL, Starlette, asyncpg."""
