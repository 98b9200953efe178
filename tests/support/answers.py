"""Checks for every answer: headers, the form of errors, and agreement with the OpenAPI document."""

import json
import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from service.docs import OPENAPI

DOCUMENT: dict[str, Any] = json.loads(OPENAPI)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
ALLOWED_ORIGIN = "http://localhost:3000"
EXPOSED = {"X-Request-ID", "Retry-After", "Allow", "ETag"}
# Words of libraries, SQL, paths and tracebacks, which must not be in an error message for a user.
WORDING = re.compile(
    r"pydantic|asyncpg|starlette|uvicorn|psycopg|postgres|bcrypt|pyjwt|traceback|exception|input should|value error"
    r"|\bselect\b|\binsert\b|\bupdate\b|\bwhere\b|relation |column|constraint|_key\b|\.py\b|/(usr|home|tmp|root|app)/"
    r"|\bNone\b|<class|0x[0-9a-f]|\bline \d|[{}\[\]\n\\]",
    re.IGNORECASE,
)


def check(response: httpx.Response) -> None:
    """Checks the contract's rules for every answer."""
    request, headers = response.request, response.headers
    assert REQUEST_ID.fullmatch(headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert "origin" in headers["vary"].lower()
    for name in set(headers) - {"set-cookie", "vary"}:
        assert len(headers.get_list(name)) == 1, f"{name} is sent twice"
    assert "set-cookie" not in headers
    if "authorization" in request.headers or request.url.path in ("/api/auth/signup", "/api/auth/login"):
        assert headers["cache-control"] == "no-store"
    if request.headers.get("origin") == ALLOWED_ORIGIN:
        assert headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert set(headers["access-control-expose-headers"].split(", ")) == EXPOSED
    else:
        assert "access-control-allow-origin" not in headers
    assert "access-control-allow-credentials" not in headers
    if response.is_error:
        _check_error(response)
    elif response.content and response.request.url.path.startswith("/api/tasks"):
        # An answer with one task has an ETag, a list has none.
        task = response.json().get("task")
        assert headers.get("etag") == (f'"{task["updated_at"]}"' if task else None)
    _check_documented(response)


def assert_error(response: httpx.Response, status: int, message: str | None = None) -> None:
    """Checks an error; `message` is the exact sentence, if the contract gives one."""
    assert response.status_code == status, response.text
    check(response)
    if message is not None and response.request.method != "HEAD":
        assert response.json() == {"error": message}


def _check_error(response: httpx.Response) -> None:
    status, headers = response.status_code, response.headers
    assert headers["content-type"] == "application/json"
    assert status != 422 or "idempotency-key" in response.request.headers
    if status == 401 and not response.request.url.path.startswith("/api/auth/"):
        assert headers["www-authenticate"] == "Bearer"
    if status in (429, 503):
        assert int(headers["retry-after"]) >= 1
    if status == 405:
        assert headers["allow"]
    if response.request.method == "HEAD":
        assert response.content == b""
    elif response.json() != {"status": "unhealthy"}:
        assert_sentence(response.json())


def assert_sentence(body: Any) -> None:
    assert set(body) == {"error"}
    sentence = body["error"]
    assert re.fullmatch(r"[A-Z0-9].{2,150}", sentence), sentence
    assert not WORDING.search(sentence), sentence


def _check_documented(response: httpx.Response) -> None:
    """Checks that the OpenAPI document contains this answer: status, headers, body."""
    method, status = response.request.method, str(response.status_code)
    operation = _path_item(response.request.url.path).get("get" if method == "HEAD" else method.lower())
    if operation is None:
        # An unknown path, a method that the path does not support, or a preflight.
        assert status in ("400", "404", "405", "413", "500", "204")
        return
    assert status in operation["responses"], f"{method} {response.request.url.path} documents no {status}"
    described = operation["responses"][status]
    for name in described.get("headers", {}):
        assert name in response.headers
    if method == "HEAD":
        return
    if "content" not in described:
        assert response.content == b""
        assert "content-type" not in response.headers
        return
    media = response.headers["content-type"].partition(";")[0]
    if media == "application/json":
        schema = {**described["content"][media]["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(response.json())
    else:
        assert media in described["content"]


def _path_item(path: str) -> dict[str, Any]:
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return dict(item)
    return {}
