"""One error type, one JSON shape, and the table that turns a violated constraint into an answer."""

import json
import re
from collections.abc import Mapping

import asyncpg
from starlette.responses import Response

RETRY_AFTER_SECONDS = 2


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


# Constraints decide, this table translates: no statement looks before it writes, so there is no race to lose.
# The service checks the text rules before it asks the database, which is the second lock on the same door.
CONSTRAINTS: dict[str, ApiError] = {
    "users_email_key": ApiError(409, "Email already registered"),
    "users_email_lower_case": bad_request("Invalid email format"),
    "users_email_length": bad_request("Email must not exceed 255 characters"),
    "users_email_with_password": bad_request("Email and password required"),
    # A good token of a user who is gone.
    "tasks_user_id_fkey": unauthorized(),
    "tasks_title_length": bad_request("Title must not exceed 255 characters"),
    "tasks_title_trimmed": bad_request("Title is required"),
    "tasks_description_length": bad_request("Description must not exceed 1000 characters"),
}


def of_constraint(violation: asyncpg.IntegrityConstraintViolationError) -> ApiError | None:
    """The answer for a violated constraint; None where no request should be able to violate it."""
    # A sharded database appends the shard's number: tasks_user_id_fkey_102026.
    name = re.sub(r"_\d+$", "", violation.constraint_name or "")
    known = CONSTRAINTS.get(name)
    return known and ApiError(known.status, known.message, known.headers)
