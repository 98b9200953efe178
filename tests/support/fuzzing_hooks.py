"""Hooks for Schemathesis, which loads this file because SCHEMATHESIS_HOOKS names it."""

from typing import Any

import schemathesis

# Schemathesis reports 412 and 422 as a good request that was refused. tests/api/test_preconditions.py and
# tests/api/test_idempotency.py send these headers.
CONDITIONS = {"if-match", "if-none-match", "idempotency-key"}


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Skips requests with conditions, and new passwords of at most 72 characters but more than 72 bytes: JSON Schema
    cannot describe that limit."""
    if CONDITIONS & {name.lower() for name in case.headers or {}}:
        return False
    body: Any = case.body
    password = body.get("password") if case.path == "/api/auth/signup" and isinstance(body, dict) else None
    return not isinstance(password, str) or len(password) > 72 or len(password.encode(errors="replace")) <= 72
