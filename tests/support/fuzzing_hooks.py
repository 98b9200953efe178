"""What Schemathesis is told beyond the document. It loads this file by SCHEMATHESIS_HOOKS."""

from typing import Any

import schemathesis

# Schemathesis takes 412 and 422 for the refusal of a good request. tests/api/test_conditions.py and test_idempotency.py
# send these headers.
CONDITIONS = {"if-match", "if-none-match", "idempotency-key"}


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Leaves out requests with conditions, and what JSON Schema cannot describe: a new password of at most 72
    characters that is over 72 bytes."""
    if CONDITIONS & {name.lower() for name in case.headers or {}}:
        return False
    body: Any = case.body
    password = body.get("password") if case.path == "/api/auth/signup" and isinstance(body, dict) else None
    return not isinstance(password, str) or len(password) > 72 or len(password.encode(errors="replace")) <= 72
