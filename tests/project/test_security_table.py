"""specs/security.md names the tests of each point, or why it does not apply. Every test that it names must exist."""

import re

import pytest

from tests.support.spec_tables import SPECS, functions_of

TABLE = SPECS / "security.md"
ROWS = [
    [cell.strip() for cell in re.split(r" \| |^\| | \|$", line)[1:-1]]
    for line in TABLE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| Point")
]
NAME = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_the_table_is_read() -> None:
    assert len(ROWS) > 40
    assert all(len(row) == 3 for row in ROWS), [row for row in ROWS if len(row) != 3]


@pytest.mark.parametrize(("point", "how", "tests"), ROWS)
def test_every_point_names_existing_tests_or_a_reason(point: str, how: str, tests: str) -> None:
    if tests.startswith("not ours, because "):
        assert not how
        return
    assert how
    assert NAME.findall(tests), "no test"
    assert not NAME.sub("", tests).strip(), "text that is not the name of a test"
    for file, name in NAME.findall(tests):
        assert name in functions_of(file), f"{file} has no {name}"


def test_the_tests_that_operations_md_names_exist() -> None:
    names = NAME.findall((SPECS / "operations.md").read_text("utf-8"))
    assert names
    for file, name in names:
        assert name in functions_of(file), f"{file} has no {name}"
