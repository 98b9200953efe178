"""TASK_LIMIT: how many tasks an account may have, without counting them at each create."""

from service.errors import ApiError

REMEMBERED_ACCOUNTS = 10_000


class TaskLimit:
    """Which creates of this worker need a count.

    A count reads the account's tasks. After one, the account's next creates in this worker need none: one create for
    each 250 tasks that are left to the limit. So the last 250 are counted one by one, and an account passes the limit
    by at most 0.4% for each worker whose last count is old.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        """0: no limit."""
        self._uncounted: dict[str, int] = {}

    def needs_count(self, user_id: str) -> bool:
        """Whether this create has to count the account's tasks; where not, it uses up one that need not."""
        if not self.most:
            return False
        left = self._uncounted.get(user_id, 0)
        if left:
            self._uncounted[user_id] = left - 1
        return not left

    def counted(self, user_id: str, held: int) -> None:
        """To be told after a count of `held` tasks."""
        if len(self._uncounted) >= REMEMBERED_ACCOUNTS:
            del self._uncounted[next(iter(self._uncounted))]
        self._uncounted[user_id] = (self.most - held) // 250

    def reached(self) -> ApiError:
        return ApiError(403, f"You cannot have more than {self.most:,} tasks")
