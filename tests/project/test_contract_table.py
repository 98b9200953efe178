"""specs/contract-tests.md names the tests of each line of the contract. Every test that it names must exist."""

import re

import pytest

from tests.support.spec_tables import SPECS, functions_of

TABLE = SPECS / "contract-tests.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| The contract says")
]
NAME = re.compile(r"`(\w+/test_\w+\.py)::(test_\w+)`")
# The table must name every test of these files.
CONTRACT_TEST_FILES = (
    *(
        "api/test_accounts.py",
        "api/test_emails.py",
        "api/test_errors.py",
        "api/test_start_and_latency.py",
        "api/test_health.py",
    ),
    *("api/test_isolation.py", "api/test_limits.py", "api/test_tasks.py", "api/test_text.py", "api/test_updates.py"),
    *("auth/test_claims.py", "auth/test_passwords.py", "auth/test_tokens.py"),
    *("web/test_body.py", "web/test_cors.py", "web/test_headers.py", "web/test_http.py"),
)


def named() -> set[tuple[str, str]]:
    return {match for _, tests in ROWS for match in NAME.findall(tests)}


def test_the_table_is_read() -> None:
    assert len(ROWS) > 70
    assert all(len(row) == 2 for row in ROWS)


@pytest.mark.parametrize(("line", "tests"), ROWS)
def test_every_line_names_existing_tests(line: str, tests: str) -> None:
    names = NAME.findall(tests)
    assert names, "no test"
    assert not NAME.sub("", tests).strip(), "text that is not the name of a test"
    for file, name in names:
        assert name in functions_of(file), f"{file} has no {name}"


def test_every_contract_test_is_in_the_table() -> None:
    written = {(file, test) for file in CONTRACT_TEST_FILES for test in functions_of(file)}
    assert written - named() == set()
