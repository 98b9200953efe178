"""Tokens that were ended before their `exp`: `python -m service account sign-out`, `set-password` and `delete`."""

import asyncio
import time

from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import SQL

NEW_SECONDS = 15.0
"""How old the list of new cutoffs may be."""
MARGIN_SECONDS = 60.0
"""A cutoff is committed after its time was taken, and the clocks of a cluster's nodes differ."""


class TokenCutoffs:
    """Looks up from when on the tokens of a user are valid. To be made inside the running event loop.

    However many tokens are to be checked for the first time, one statement runs at a time, for all users asked for
    since the one before. After that the new cutoffs are enough: one statement every NEW_SECONDS for all users.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: dict[str, asyncio.Future[float]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._new: dict[str, float] = {}
        self._listed = time.monotonic() - NEW_SECONDS
        self._listing: asyncio.Task[None] | None = None

    async def valid_from(self, user_id: str) -> float:
        """A token issued before this time is not valid; 0 where none was ended. Raises ApiError 503."""
        user_id = user_id.lower()
        cutoff = self._asked.get(user_id)
        if cutoff is None:
            cutoff = self._asked[user_id] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(cutoff)

    def are_listed(self) -> bool:
        """Whether the list of new cutoffs is fresh."""
        return time.monotonic() - self._listed < NEW_SECONDS

    def new(self, user_id: str) -> tuple[float, float]:
        """The user's cutoff if it was set since this worker started, else 0; and how old the list is (seconds)."""
        return self._new.get(user_id.lower(), 0.0), time.monotonic() - self._listed

    async def list_new(self) -> None:
        """Makes the list fresh. Raises ApiError 503."""
        if not self.are_listed():
            if self._listing is None:
                self._listing = asyncio.create_task(self._list_new())
            await asyncio.shield(self._listing)

    async def _list_new(self) -> None:
        began = time.monotonic()
        try:
            seconds = began - self._listed + MARGIN_SECONDS
            row = await self._pool.fetch_one(SQL.find_new_token_cutoffs, seconds, deadline=deadline_after())
            self._new |= zip(row["user_ids"] or (), row["valid_from"] or (), strict=True)
            self._listed = began
        finally:
            self._listing = None

    async def _ask(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                row = await self._pool.fetch_one(SQL.find_token_cutoffs, tuple(asked), deadline=deadline_after())
            except Exception as error:
                for cutoff in asked.values():
                    cutoff.set_exception(error)
                continue
            found = dict(zip(row["user_ids"] or (), row["valid_from"] or (), strict=True))
            for user_id, cutoff in asked.items():
                cutoff.set_result(found.get(user_id, 0.0))
        self._asking = None
