"""The requests that wait for a connection of the pool, in one queue for each account."""

import asyncio
from collections import deque
from collections.abc import Callable

from service.errors import unavailable
from service.postgres.pooled_connection import PooledConnection


class Turn(asyncio.Future[PooledConnection]):
    """One waiting request: its result is its connection, its exception the 503."""

    def __init__(self, account: object, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.account = account
        self.deadline = deadline


class WaitingRequests:
    """The accounts take turns, so that one with a thousand waiting requests delays those of another by one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[object, deque[Turn]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, account: object, deadline: float) -> Turn:
        turn = Turn(account, deadline, self._loop)
        self._queues.setdefault(account, deque()).append(turn)
        return turn

    def next(self, may_use_one_more: Callable[[object], bool]) -> Turn | None:
        """Takes the request whose turn it is, among the accounts that may use one more connection."""
        while (account := next(filter(may_use_one_more, self._queues), None)) is not None:
            queue = self._queues.pop(account)
            turn = queue.popleft()
            if queue:
                self._queues[account] = queue  # behind the other accounts
            if not turn.done():
                return turn
        return None

    def expire(self, now: float) -> None:
        """Answers 503 to those whose deadline has passed, and forgets those that do not wait any more."""
        for account, queue in list(self._queues.items()):
            for turn in queue:
                if now >= turn.deadline and not turn.done():
                    turn.set_exception(unavailable())
            waiting = deque(turn for turn in queue if not turn.done())
            if waiting:
                self._queues[account] = waiting
            else:
                del self._queues[account]
