"""The rules for Python code: no SQL in it, imports in one direction, no state in modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pglast import parse_sql
from pglast.parser import ParseError

from tests.support.commands import PROJECT

SERVICE = sorted((PROJECT / "service").rglob("*.py"))
# A package imports only from itself and from lower layers; README.md shows the same list.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"app", "account_command"},
    {"tasks", "users", "health", "docs"},
    {"web"},
    {"state"},
    {"auth", "body_memory", "task_limit"},
    {"telemetry", "config"},
    {"postgres"},
    {"errors"},
]
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
FRAGMENT = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|returning|(create|alter|drop)\s+table)\b|\bwhere\b.+=",
    re.IGNORECASE | re.DOTALL,
)


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Strings that are statements: docstrings of modules, functions, classes and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def literals(tree: ast.AST) -> Iterator[str]:
    """The string literals of the code; in f-strings, x replaces each value."""
    documentation = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def is_sql(text: str) -> bool:
    if FRAGMENT.search(text):
        return True
    try:
        return " " in text.strip() and bool(parse_sql(text))
    except ParseError:
        return False


def package_of(path: Path) -> str:
    """The first name below `service`: a package, or a module beside the packages."""
    return path.relative_to(PROJECT / "service").with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The packages of the service that a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("service.")}


@pytest.mark.parametrize("path", SERVICE, ids=name)
def test_no_sql_in_python(path: Path) -> None:
    assert [text for text in literals(parsed(path)) if is_sql(text)] == []


def test_the_rule_finds_sql() -> None:
    for text in ("select 1", "SELECT id FROM tasks", " where user_id = $1", "set role x", "listen x", "values (1)"):
        assert is_sql(text)
    tree = ast.parse('def f(name):\n    """select 1"""\n    return f"delete from {name}"')
    assert [text for text in literals(tree) if is_sql(text)] == ["delete from x", "delete from "]


@pytest.mark.parametrize(
    "path", [path for path in SERVICE if path.parent.name != "service" or path.stem != "__init__"], ids=name
)
def test_packages_import_only_from_lower_layers(path: Path) -> None:
    package = package_of(path)
    assert package in LAYER, f"{package} needs its place in LAYERS"
    assert {other for other in imports(path) if LAYER[other] <= LAYER[package] and other != package} == set()


@pytest.mark.parametrize("path", SERVICE, ids=name)
def test_no_module_has_mutable_state(path: Path) -> None:
    tree = parsed(path)
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))
    made = [
        call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
        for call in ast.walk(statement)
        if isinstance(call, ast.Call)
    ]
    assert not {"Pool", "Embedded", "Settings", "load_settings", "create_app", "create_pool", "connect"} & set(made)
