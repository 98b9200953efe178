"""The errors: what stops a start, the JSON of an error answer, and the answer to each violated constraint."""

import json
import re
from collections.abc import Mapping

import asyncpg
from starlette.responses import Response

RETRY_AFTER_SECONDS = 2


class StartError(Exception):
    """The service or one of its commands cannot start; str() is one sentence that says what to change."""


class ApiError(Exception):
    """An answer other than success: `message` is a sentence that the frontend shows to a person as it stands."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        body = json.dumps({"error": self.message}, ensure_ascii=False).encode()
        return Response(body, self.status, self.headers, "application/json")


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})


def not_found(message: str = "Not found") -> ApiError:
    return ApiError(404, message)


def unavailable() -> ApiError:
    return ApiError(503, "Service temporarily unavailable", {"Retry-After": str(RETRY_AFTER_SECONDS)})


def internal() -> ApiError:
    return ApiError(500, "Internal server error")


# The database's constraints decide, this table translates: no statement looks before it writes, so no race is possible.
# The service checks the text rules before it sends a statement; the constraints hold for every other client.
CONSTRAINTS: dict[str, tuple[int, str]] = {
    "users_email_key": (409, "Email already registered"),
    "users_email_lower_case": (400, "Invalid email format"),
    "users_email_length": (400, "Email must not exceed 255 characters"),
    "users_email_with_password": (400, "Email and password required"),
    # A valid token of a user who no longer exists.
    "tasks_user_id_fkey": (401, "Unauthorized"),
    "tasks_title_length": (400, "Title must not exceed 255 characters"),
    "tasks_title_trimmed": (400, "Title is required"),
    "tasks_description_length": (400, "Description must not exceed 1000 characters"),
}


def constraint_error(violation: asyncpg.IntegrityConstraintViolationError) -> ApiError | None:
    """The answer for a violated constraint; None where no request should be able to violate it."""
    # Citus forwards a shard's error without its constraint_name, so the name is looked for in the message as well; and
    # it appends the shard's number to the name: tasks_user_id_fkey_102026.
    words = [violation.constraint_name] if violation.constraint_name else re.findall(r"\w+", violation.args[0])
    for name in (re.sub(r"_\d+$", "", word) for word in words):
        if name in CONSTRAINTS:
            status, message = CONSTRAINTS[name]
            return unauthorized() if status == 401 else ApiError(status, message)
    return None
