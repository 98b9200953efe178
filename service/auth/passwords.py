"""bcrypt on threads of its own: few, of low priority, with a short queue. A flood of log-ins slows only log-ins."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from service.errors import unavailable

COST = 12
LONGEST_BYTES = 72
"""bcrypt reads no further; a longer password would be cut silently."""
QUEUE = 32
FULL_SECONDS = 1.0
WAIT_SECONDS = 1.5
"""A log-in that has not been taken up by then is told to come back."""
SIGN_UP_WAIT_SECONDS = 8.0
"""Nobody guesses by signing up, so whoever does may wait for longer."""
# A hash of nobody's password, checked against when the e-mail is unknown, so that both ways cost the same.
DUMMY_HASH = bcrypt.hashpw(os.urandom(16).hex().encode(), bcrypt.gensalt(COST))

Answer = TypeVar("Answer")


def _step_back() -> None:
    """Lowers the thread's priority below that of the requests; only Linux has priorities by thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Passwords:
    """Hashes and checks passwords. Raises ApiError 503 when too many wait or the wait is too long."""

    def __init__(self) -> None:
        threads = max(1, (os.cpu_count() or 1) // 2)
        self._threads = ThreadPoolExecutor(threads, "bcrypt", _step_back)
        self._most = threads + QUEUE
        self.queue = 0
        """How many passwords are being hashed or wait for it."""

    async def hash(self, password: str) -> str:
        """The bcrypt hash of a password of at most 72 bytes."""
        hashed = await self._run(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)), SIGN_UP_WAIT_SECONDS)
        return hashed.decode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one of the hash (None: of an unknown user). The same work in every case."""
        given = password.encode()
        known = password_hash is not None and len(given) <= LONGEST_BYTES
        stored = password_hash.encode() if known and password_hash else DUMMY_HASH
        matched = await self._run(lambda: bcrypt.checkpw(given[:LONGEST_BYTES], stored))
        return matched and known

    async def _run(self, work: Callable[[], Answer], seconds: float = WAIT_SECONDS) -> Answer:
        if self.queue == self._most:
            # An answer at once would be asked for again at once: 64 clients made 4,000 of them a second.
            await asyncio.sleep(FULL_SECONDS)
            raise unavailable()
        self.queue += 1
        job = self._threads.submit(work)
        try:
            answer = asyncio.wrap_future(job)
            await asyncio.wait([answer], timeout=seconds)
            # cancel() succeeds only while nobody has begun; what has begun is waited for.
            if not answer.done() and job.cancel():
                raise unavailable()
            return await answer
        finally:
            job.cancel()
            self.queue -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
