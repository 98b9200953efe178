"""Proves, with PostgreSQL's own parser, that a statement reads and writes only the tasks of the owner, who is $1, and
only the owner's row of `users`.

It fails closed: a kind of node or an attribute that KNOWN does not list is a fault. Each query level (a statement, a
sub-select, a CTE) must limit its own references to `tasks`.
"""

from collections.abc import Set
from typing import Any

from pglast import ast, parse_sql
from pglast.enums import OnConflictAction

from tests.support.sql_tree import FUNCTIONS, KNOWN, alias, conjuncts, inserted, is_owner, strings, tables

FIXED = {"user_id", "id"}
OWNER = {"tasks": "user_id", "users": "id"}
"""The column of each table that holds the owner."""
STATEMENTS = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)


def faults(sql: str, permitted: Set[str], functions: Set[str] = FUNCTIONS) -> list[str]:
    """The faults of a statement that may use only the `permitted` tables; an empty list is the proof."""
    statements = parse_sql(sql)
    if len(statements) != 1 or not isinstance(statements[0].stmt, STATEMENTS):
        return ["not one SELECT, INSERT, UPDATE or DELETE"]
    check = _Check(permitted, functions)
    check.walk(statements[0].stmt, frozenset())
    return check.faults


class _Check:
    def __init__(self, permitted: Set[str], functions: Set[str]) -> None:
        self.faults: list[str] = []
        self._permitted = permitted
        self._functions = functions
        self._owner = OWNER if "tasks" in permitted else {}
        # Nodes that a rule below has checked. The walk visits every node and reports those that no rule has checked.
        self._accounted: set[int] = set()

    def walk(self, node: object, ctes: frozenset[str]) -> None:
        if isinstance(node, tuple):
            for child in node:
                self.walk(child, ctes)
        elif isinstance(node, ast.Node):
            if isinstance(node, STATEMENTS):
                ctes = self._statement(node, ctes)
            self._node(node)
            for name in node:
                self.walk(None if name == "withClause" else getattr(node, name), ctes)

    def _node(self, node: Any) -> None:
        kind = type(node).__name__
        # A false value means that the attribute is absent; `location` is the position in the text.
        present = {name for name in node if getattr(node, name) and name != "location"}
        self.faults += [f"{kind}.{name} is not known" for name in sorted(present - KNOWN.get(kind, set()))]
        if kind not in KNOWN:
            self.faults.append(f"{kind} is not known")
        if isinstance(node, ast.FuncCall) and ".".join(strings(node.funcname)) not in self._functions:
            self.faults.append(f"the function {'.'.join(strings(node.funcname))} is not known")
        if isinstance(node, ast.LockingClause) and node.waitPolicy and "tasks" in self._permitted:
            self.faults.append("a row lock on tasks that does not wait")
        if isinstance(node, ast.RangeVar) and id(node) not in self._accounted:
            self.faults.append(f"{node.relname} stands where no table is expected")
        if self._owner and is_owner(node) and id(node) not in self._accounted:
            self.faults.append("$1 is used for something else than the owner")

    def _statement(self, statement: Any, ctes: frozenset[str]) -> frozenset[str]:
        """Checks this level; returns the CTEs that are visible in it."""
        if statement.withClause:
            self._node(statement.withClause)
            for cte in statement.withClause.ctes:
                self.walk(cte, ctes)
                ctes |= {cte.ctename}
        if ctes & self._permitted:
            self.faults.append("a CTE has the name of a table")
        items = list(getattr(statement, "usingClause", None) or getattr(statement, "fromClause", None) or ())
        target = getattr(statement, "relation", None)
        if target is not None and target.relname in ctes:
            self.faults.append("a CTE cannot be written to")
        if isinstance(statement, ast.InsertStmt):
            self._insert(statement)
        else:
            self._limited([target, *items] if target else items, statement.whereClause, ctes)
        if isinstance(statement, ast.UpdateStmt):
            self._set(statement.targetList)
        return ctes

    def _limited(self, items: list[Any], where: Any, ctes: frozenset[str]) -> None:
        alone = len(items) == 1 and isinstance(items[0], ast.RangeVar)
        for table, limits in tables(items, conjuncts(where)):
            self._accounted.add(id(table))
            if table.relname in ctes:
                continue
            self._may_touch(table)
            owned = [self._owns(conjunct, table, alone) for conjunct in limits]
            if table.relname in self._owner and not any(owned):
                self.faults.append(f"{alias(table)} is not limited to the owner")

    def _may_touch(self, table: Any) -> None:
        if table.relname not in self._permitted:
            self.faults.append(f"the table {table.relname} is not for this file")

    def _owns(self, node: Any, table: Any, alone: bool) -> bool:
        """Whether `node` is `<table>.user_id = $1`, or `user_id = $1` if this level has only one table."""
        owner_column = self._owner.get(table.relname)
        if owner_column is None or not isinstance(node, ast.A_Expr) or node.kind or strings(node.name) != ["="]:
            return False
        column, owner = node.lexpr, node.rexpr
        if not (isinstance(column, ast.ColumnRef) and is_owner(owner)):
            return False
        fields = strings(column.fields)
        if fields != [alias(table), owner_column] and not (alone and fields == [owner_column]):
            return False
        self._accounted.add(id(owner))
        return True

    def _set(self, targets: Any) -> None:
        self.faults += [f"SET changes {target.name}" for target in targets or () if target.name in FIXED]

    def _insert(self, statement: Any) -> None:
        self._accounted.add(id(statement.relation))
        self._may_touch(statement.relation)
        conflict = statement.onConflictClause
        self._set(conflict.targetList if conflict else None)
        owner_column = self._owner.get(statement.relation.relname)
        if owner_column is None:
            return
        values = list(inserted(statement, owner_column))
        self._accounted |= {id(value) for value in values if is_owner(value)}
        if not values or not all(is_owner(value) for value in values):
            self.faults.append(f"$1 is not what is inserted as {owner_column}")
        if conflict and conflict.action == OnConflictAction.ONCONFLICT_UPDATE:
            # The conflicting row has the same owner, $1, if the owner is part of the unique key.
            key = [element.name for element in conflict.infer.indexElems or ()] if conflict.infer else []
            owned = [self._owns(conjunct, statement.relation, False) for conjunct in conjuncts(conflict.whereClause)]
            if owner_column not in key and not any(owned):
                self.faults.append("ON CONFLICT DO UPDATE is not limited to the owner")
