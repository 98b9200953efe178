"""The SQL that the ownership checker knows, and functions that read a parsed statement.

A node or an attribute that is not in KNOWN is a fault until somebody adds it, for example set operations, LATERAL and
schema-qualified names.
"""

from collections.abc import Iterable
from typing import Any

from pglast import ast
from pglast.enums import BoolExprType, JoinType

FUNCTIONS = frozenset(
    {"task_json", "string_agg", "array_agg", "count", "max", "ceil", "now", "make_interval"}
    | {"pg_catalog.timezone", "pg_catalog.extract"}
)
"""None of them reads a table or changes the session."""
KNOWN = {
    "SelectStmt": {"targetList", "fromClause", "whereClause", "withClause", "valuesLists"}
    | {"sortClause", "limitCount", "limitOption", "lockingClause"},
    "LockingClause": {"strength", "waitPolicy"},
    "InsertStmt": {"relation", "cols", "selectStmt", "onConflictClause", "returningClause", "withClause"},
    "UpdateStmt": {"relation", "targetList", "fromClause", "whereClause", "returningClause", "withClause"},
    "DeleteStmt": {"relation", "usingClause", "whereClause", "returningClause", "withClause"},
    "WithClause": {"ctes"},
    "CommonTableExpr": {"ctename", "ctequery"},
    "OnConflictClause": {"action", "infer", "targetList", "whereClause"},
    "InferClause": {"indexElems"},
    "IndexElem": {"name"},
    "ReturningClause": {"exprs"},
    "ResTarget": {"name", "val"},
    "RangeVar": {"relname", "alias", "inh", "relpersistence"},
    "RangeSubselect": {"subquery", "alias"},
    "JoinExpr": {"jointype", "larg", "rarg", "quals"},
    "Alias": {"aliasname"},
    "SubLink": {"subLinkType", "testexpr", "subselect", "operName"},
    "BoolExpr": {"boolop", "args"},
    "A_Expr": {"name", "lexpr", "rexpr", "kind"},
    "NullTest": {"arg", "nulltesttype"},
    "CaseExpr": {"args", "defresult"},
    "CaseWhen": {"expr", "result"},
    "CoalesceExpr": {"args"},
    "MinMaxExpr": {"args", "op"},
    "FuncCall": {"funcname", "args", "agg_order", "funcformat"},
    "NamedArgExpr": {"name", "arg", "argnumber"},
    "SortBy": {"node", "sortby_dir"},
    "TypeCast": {"arg", "typeName"},
    "TypeName": {"names", "typemod"},
    "ColumnRef": {"fields"},
    "ParamRef": {"number"},
    "A_Const": {"val", "isnull"},
    "String": {"sval"},
    "Integer": {"ival"},
    "Float": {"fval"},
    "Boolean": {"boolval"},
}


def tables(items: Iterable[Any], limits: list[Any]) -> Iterable[tuple[Any, list[Any]]]:
    """The tables of a FROM list, each with the conditions that apply to every row of it."""
    for item in items:
        if isinstance(item, ast.RangeVar):
            yield item, limits
        elif isinstance(item, ast.JoinExpr):
            # An outer join keeps all rows of its outer side, whatever its ON condition.
            on = conjuncts(item.quals)
            yield from tables([item.larg], limits + on * (item.jointype in (JoinType.JOIN_INNER, JoinType.JOIN_RIGHT)))
            yield from tables([item.rarg], limits + on * (item.jointype in (JoinType.JOIN_INNER, JoinType.JOIN_LEFT)))


def inserted(statement: Any, column: str) -> Iterable[Any]:
    """The expression for `column` in each inserted row."""
    columns = [target.name for target in statement.cols or ()]
    source = statement.selectStmt
    if source and column in columns:
        for row in source.valuesLists or [[target.val for target in source.targetList or ()]]:
            yield row[columns.index(column)]


def conjuncts(node: Any) -> list[Any]:
    """The conditions that AND connects."""
    if isinstance(node, ast.BoolExpr) and node.boolop == BoolExprType.AND_EXPR:
        return [conjunct for child in node.args or () for conjunct in conjuncts(child)]
    return [] if node is None else [node]


def alias(table: Any) -> str:
    """The name of a table in the statement: its alias or its own name."""
    name: str = table.alias.aliasname if table.alias else table.relname
    return name


def strings(names: Any) -> list[str]:
    return [getattr(name, "sval", None) or "" for name in names]


def is_owner(node: Any) -> bool:
    return isinstance(node, ast.ParamRef) and node.number == 1
