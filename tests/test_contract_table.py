"""specs/contract-tests.md names a test for each line of the contract; here no name in it may be dead."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "specs" / "contract-tests.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| The contract says")
]
NAME = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
# What has no place in the table, because it is more than a line of the contract.
OF_THE_CONTRACT = (
    "accounts", "body", "claims", "cors", "emails", "errors", "floor", "headers", "health", "http", "isolation",
    "limits",
    "passwords", "tasks", "text", "tokens", "updates",
)  # fmt: skip


def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def named() -> set[tuple[str, str]]:
    return {match for _, tests in ROWS for match in NAME.findall(tests)}


def test_the_table_is_read() -> None:
    assert len(ROWS) > 70
    assert all(len(row) == 2 for row in ROWS)


@pytest.mark.parametrize(("line", "tests"), ROWS)
def test_every_line_has_tests_that_exist(line: str, tests: str) -> None:
    names = NAME.findall(tests)
    assert names, "no test"
    assert not NAME.sub("", tests).strip(), "something that is no name of a test"
    for file, name in names:
        assert name in functions_of(file), f"{file} has no {name}"


def test_every_contract_test_holds_a_line() -> None:
    written = {(f"test_{name}.py", test) for name in OF_THE_CONTRACT for test in functions_of(f"test_{name}.py")}
    assert written - named() == set()
