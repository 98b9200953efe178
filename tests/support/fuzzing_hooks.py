"""Hooks for Schemathesis, which loads this file because SCHEMATHESIS_HOOKS names it."""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Skips new passwords of at most 72 characters but more than 72 bytes: JSON Schema cannot describe that limit."""
    body: Any = case.body
    password = body.get("password") if case.path == "/api/auth/signup" and isinstance(body, dict) else None
    return not isinstance(password, str) or len(password) > 72 or len(password.encode(errors="replace")) <= 72
