"""The memory that request bodies take while they arrive."""

from service.errors import unavailable

LARGE_BYTES = 64 * 1024
"""From this size on a body counts. No task needs so much: whoever uses up ARRIVING_BYTES delays no real client."""
ARRIVING_BYTES = 32 * 1024 * 1024
"""Limit on the bytes of large bodies whose rest has not arrived, for each worker."""


class BodyMemory:
    """The bytes that one worker holds of large bodies that are not complete."""

    def __init__(self) -> None:
        self._held = 0

    def take(self, count: int) -> None:
        """Raises ApiError 503 where there is no room; the bytes count until they are given back all the same."""
        self._held += count
        if self._held > ARRIVING_BYTES:
            raise unavailable()

    def give_back(self, count: int) -> None:
        self._held -= count
