"""Tells others of the requests that were answered, many at a time.

Each request adds one tuple; what is made of it is made of many in a row, because code that runs once for each request
finds the processor's caches full of other things, and costs a multiple of its time in a loop.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence

from starlette.types import Scope

BATCH = 64
WAIT_SECONDS = 0.2

Seen = tuple[float, str, str, str | None, int, float, uuid.UUID | None, str | None]
"""When it was answered, its id, method, route (None: no such path), status, seconds, user and client address."""


class Watch:
    """One worker's requests on their way to `takers`."""

    def __init__(self, takers: Sequence[Callable[[list[Seen]], None]]) -> None:
        self._takers = takers
        self._seen: list[Seen] = []
        self._timer: asyncio.TimerHandle

    def note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        if not self._takers:
            return
        if not self._seen:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self.tell)
        route = scope["route"].path if "route" in scope else None
        client = scope["client"][0] if scope["client"] else None
        self._seen.append((time.time(), request_id, scope["method"], route, status, seconds, scope.get("user"), client))
        if len(self._seen) == BATCH:
            self.tell()

    def tell(self) -> None:
        """Tells at once of all that were not told of yet."""
        if self._seen:
            self._timer.cancel()
            seen, self._seen = self._seen, []
            for take in self._takers:
                take(seen)
