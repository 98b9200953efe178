"""bcrypt on its own few threads of low priority, with a short queue: a flood of log-ins slows only log-ins.

The order of the queue: log-ins before sign-ups; then the client network with the fewest passwords in the queue.
"""

import asyncio
import bisect
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import bcrypt
from starlette.requests import ClientDisconnect

from service.errors import unavailable

COST = 12
LONGEST_BYTES = 72
"""bcrypt reads no further; a longer password would be cut silently."""
QUEUE = 32
FULL_SECONDS = 1.0
LOG_IN_WAIT_SECONDS = 1.5
SIGN_UP_WAIT_SECONDS = 4.0
"""A sign-up may wait longer: nobody guesses by signing up."""
# Checked when the e-mail is unknown, so that an unknown e-mail costs the same as a wrong password.
DUMMY_HASH = bcrypt.hashpw(os.urandom(16).hex().encode(), bcrypt.gensalt(COST))

Result = TypeVar("Result")


class Client(NamedTuple):
    """Who waits for the result."""

    network: str
    disconnected: Callable[[], Coroutine[Any, Any, None]]
    """Returns when the client is gone."""
    deadline: float
    """Until when a thread must be free (time.monotonic)."""


class Waiting(NamedTuple):
    """A place in the queue, which is sorted by these fields; `number` is unique, so none after it is compared."""

    is_sign_up: bool
    before_it: int
    """How many others of its network were in the queue when it came."""
    number: int
    network: str
    has_thread: asyncio.Future[bool]
    """False: it lost its place because the queue is full."""


def _lower_priority() -> None:
    """Below the priority of the event loop; only Linux has priorities of threads.

    The kernel gives a thread with 5 more a third of the time. With 10 more, a tenth, a hash took seven seconds on a
    machine that other programs kept busy.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(own + 5, 19))


class Passwords:
    """Hashes and checks passwords. Raises ApiError 503 when too many wait or the wait is too long, and ClientDisconnect
    when the client leaves while it waits. To be made inside the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._size = self._idle = max(1, (os.cpu_count() or 1) // 2)
        self._threads = ThreadPoolExecutor(self._size, "bcrypt", _lower_priority)
        self._waiting: list[Waiting] = []
        self._numbers = itertools.count()

    @property
    def queue(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return self._size - self._idle + len(self._waiting)

    async def hash(self, password: str, client: Client) -> str:
        """The bcrypt hash of a password of at most 72 bytes."""
        await self._wait_for_thread(client, is_sign_up=True)
        return (await self._run(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)))).decode()

    async def matches(self, password: str, password_hash: str | None, client: Client) -> bool:
        """Whether the password is the one of the hash (None: of an unknown user). The same work in every case."""
        given = password.encode()
        known = password_hash is not None and len(given) <= LONGEST_BYTES
        stored = password_hash.encode() if known and password_hash else DUMMY_HASH
        await self._wait_for_thread(client, is_sign_up=False)
        return await self._run(lambda: bcrypt.checkpw(given[:LONGEST_BYTES], stored)) and known

    async def _run(self, work: Callable[[], Result]) -> Result:
        job = self._loop.run_in_executor(self._threads, work)
        job.add_done_callback(self._release)
        return await asyncio.shield(job)

    async def _wait_for_thread(self, client: Client, is_sign_up: bool) -> None:
        if self._idle:
            self._idle -= 1
            return
        place = self._enqueue(client.network, is_sign_up)
        left = asyncio.create_task(client.disconnected())
        longest = SIGN_UP_WAIT_SECONDS if is_sign_up else LOG_IN_WAIT_SECONDS
        seconds = min(longest, client.deadline - time.monotonic())
        try:
            await asyncio.wait((place.has_thread, left), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            if not place.has_thread.done():
                self._waiting.remove(place)
        if not place.has_thread.done():
            raise ClientDisconnect if left.done() else unavailable()
        if not place.has_thread.result():
            # Without a delay clients retry in a tight loop: 64 of them made 4,000 requests a second.
            await asyncio.sleep(FULL_SECONDS)
            raise unavailable()

    def _enqueue(self, network: str, is_sign_up: bool) -> Waiting:
        before_it = sum(other.network == network for other in self._waiting)
        place = Waiting(is_sign_up, before_it, next(self._numbers), network, self._loop.create_future())
        bisect.insort(self._waiting, place)
        if len(self._waiting) > QUEUE:
            self._waiting.pop().has_thread.set_result(False)
        return place

    def _release(self, _: asyncio.Future[Result]) -> None:
        """Gives a thread that has become free to the first in the queue."""
        if self._waiting:
            self._waiting.pop(0).has_thread.set_result(True)
        else:
            self._idle += 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
