"""Helpers for the tests of the tables in specs/."""

import ast

from tests.support.commands import PROJECT

TESTS = PROJECT / "tests"
SPECS = PROJECT / "specs"


def functions_of(file: str) -> set[str]:
    """The names of the test functions of a file below tests/."""
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}
