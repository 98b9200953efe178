"""Tokens that were ended before their `exp`: `python -m service account sign-out`, `set-password` and `delete`."""

import asyncio

from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import SQL


class TokenCutoffs:
    """Looks up from when on the tokens of a user are valid. To be made inside the running event loop.

    However many tokens are to be checked, one statement runs at a time, for all users asked for since the one before.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: dict[str, asyncio.Future[float]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def valid_from(self, user_id: str) -> float:
        """A token issued before this time is not valid; 0 where none was ended. Raises ApiError 503."""
        user_id = user_id.lower()
        cutoff = self._asked.get(user_id)
        if cutoff is None:
            cutoff = self._asked[user_id] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(cutoff)

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
