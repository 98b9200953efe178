"""`make migrate`, killed at ten moments and run again."""

from pathlib import Path

from tests.support.killed_migrations import kill_and_repeat


def test_a_run_that_is_killed_at_any_moment_can_be_repeated(server: str, tmp_path: Path) -> None:
    kill_and_repeat(server, tmp_path, [0.4 + tenth * 0.06 for tenth in range(10)])
