"""The rules of the house for Python: no SQL in it, small, imports one way, no state."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from pglast import parse_sql
from pglast.parser import ParseError

from tests.commands import PROJECT

SERVICE = sorted((PROJECT / "service").glob("*.py"))
PYTHON = [*SERVICE, PROJECT / "embedded" / "postgres.py", *sorted((PROJECT / "tests").rglob("*.py"))]
MOST_LINES = 1720
LONGEST_FUNCTION = 40
# A module imports from the lines below its own, never from its own or from above.
LAYERS = [
    {"__main__"},
    {"commands"},
    {"serve", "migrations"},
    {"app"},
    {"docs"},
    {"better_auth", "users", "tasks", "health", "edge", "log", "metrics", "routing", "schema"},
    {"state"},
    {"auth", "passwords", "attempts", "body"},
    {"database"},
    {"errors", "queries", "config"},
    {"dsn"},
    {"tls", "protocol", "watch"},
]
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
FRAGMENT = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|returning|(create|alter|drop)\s+table)\b|\bwhere\b.+=",
    re.IGNORECASE | re.DOTALL,
)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Strings that stand as statements: docstrings, also those of attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def literals(tree: ast.AST) -> Iterator[str]:
    """The strings of the code, f-strings with a name in place of each value."""
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


def lines_of_code(path: Path) -> int:
    """Lines that are not blank, no comment and no docstring."""
    text = path.read_text("utf-8")
    noise = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in noise:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in docstrings(ast.parse(text)):
        lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def imports(path: Path) -> set[str]:
    """The modules of the service that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "service":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("service."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("service.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level)
    return found


@pytest.mark.parametrize("path", SERVICE, ids=lambda path: path.name)
def test_no_sql_in_python(path: Path) -> None:
    assert [text for text in literals(parsed(path)) if is_sql(text)] == []


def test_sql_would_be_found() -> None:
    for text in ("select 1", "SELECT id FROM tasks", " where user_id = $1", "set role x", "listen x", "values (1)"):
        assert is_sql(text)
    tree = ast.parse('def f(name):\n    """select 1"""\n    return f"delete from {name}"')
    assert [text for text in literals(tree) if is_sql(text)] == ["delete from x", "delete from "]


def test_the_service_is_small() -> None:
    counted = {path.stem: lines_of_code(path) for path in SERVICE}
    assert sum(counted.values()) <= MOST_LINES, counted


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_no_function_is_long(path: Path) -> None:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", [path for path in SERVICE if path.stem != "__init__"], ids=lambda path: path.stem)
def test_imports_go_one_way(path: Path) -> None:
    assert path.stem in LAYER, f"{path.name} needs its place in LAYERS"
    assert {module for module in imports(path) if LAYER[module] <= LAYER[path.stem]} == set()


@pytest.mark.parametrize("path", SERVICE, ids=lambda path: path.name)
def test_no_module_holds_state(path: Path) -> None:
    tree = parsed(path)
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))
    made = [
        call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
        for call in ast.walk(statement)
        if isinstance(call, ast.Call)
    ]
    assert not {"Database", "Embedded", "Settings", "load_settings", "create_app", "create_pool", "connect"} & set(made)
