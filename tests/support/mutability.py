"""Finds the expressions of a statement that a sharded table (Citus) refuses because they are not immutable.

It creates an index on each expression, because PostgreSQL has the same condition for an index.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from pglast import ast, parse_sql
from pglast.stream import RawStream
from pglast.visitors import Visitor
from psycopg import errors

NOW = "this_moment"


def refused(owner: psycopg.Connection, sql: str, types: list[str]) -> list[str]:
    """The expressions that are not immutable; `types` are the types of the statement's parameters."""
    statement = parse_sql(sql)
    _AsColumns()(statement)
    find = _Modifications()
    find(statement)
    columns = [f"parameter_{number} {name}" for number, name in enumerate(types, 1)] + [f"{NOW} timestamptz"]
    return [
        text
        for modification in find.found
        for text in (RawStream()(expression) for expression in _expressions(modification))
        if not _is_immutable(owner, modification.relation.relname, columns, text)
    ]


def _expressions(modification: Any) -> Iterator[Any]:
    """The expressions that must be immutable: in RETURNING, DO UPDATE and SET."""
    targets = list(modification.returningClause.exprs) if modification.returningClause else []
    if isinstance(modification, ast.UpdateStmt):
        targets += modification.targetList or ()
    conflict = getattr(modification, "onConflictClause", None)
    if conflict:
        targets += conflict.targetList or ()
        if conflict.whereClause:
            yield conflict.whereClause
    yield from (target.val for target in targets)


def _is_immutable(owner: psycopg.Connection, relation: str, columns: list[str], text: str) -> bool:
    try:
        with owner.transaction(force_rollback=True):
            owner.execute(f"create temporary table probe (like {relation}, {', '.join(columns)})".encode())
            owner.execute(f"create index on probe ((({text}) is null))".encode())
    except (errors.InvalidObjectDefinition, errors.FeatureNotSupported):
        return False
    return True


class _AsColumns(Visitor):
    """Replaces parameters and now() by columns of the temporary table, and removes the names of tables."""

    def visit_ParamRef(self, _: Any, node: ast.ParamRef) -> ast.Node:
        return _column(f"parameter_{node.number}")

    def visit_ColumnRef(self, _: Any, node: Any) -> ast.Node | None:
        name = getattr(node.fields[-1], "sval", None)  # None: a star
        return _column(name) if name else None

    def visit_FuncCall(self, ancestors: Any, node: Any) -> ast.Node | None:
        # Citus replaces now() in SET by a constant before it sends the statement on, but not inside CASE and COALESCE.
        in_set = ancestors.find_nearest(ast.UpdateStmt)
        hidden = ancestors.find_nearest((ast.CaseExpr, ast.CoalesceExpr))
        return _column(NOW) if node.funcname[-1].sval == "now" and in_set and not hidden else None


def _column(name: str) -> ast.ColumnRef:
    return ast.ColumnRef(fields=(ast.String(sval=name),))


class _Modifications(Visitor):
    def __init__(self) -> None:
        self.found: list[Any] = []

    def visit(self, _: Any, node: ast.Node) -> None:
        if isinstance(node, ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt):
            self.found.append(node)
