"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the task's id and a fingerprint, made from the request.

The same user and key give the same id on every instance, so the primary key decides which request makes the task: there
is no table of keys.
"""

import hmac
import json
import re
import uuid

from starlette.types import Scope

from service.errors import bad_request

KEY = re.compile(rb"[\x20-\x7e]{1,255}")
QUOTED = re.compile(rb'"((?:[^"\\]|\\["\\])*+)"')


def derive_secret(token_secret: str) -> bytes:
    """A secret for ids and fingerprints alone: none of them is ever the signature of a token."""
    return hmac.digest(token_secret.encode(), b"Idempotency-Key", "sha256")


def read_key(scope: Scope) -> bytes | None:
    """The request's key; a structured string (RFC 9651) stands for what it holds. Raises ApiError 400."""
    values = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if not values:
        return None
    key: bytes = values[0].strip(b" \t")
    if quoted := QUOTED.fullmatch(key):
        key = re.sub(rb"\\(.)", rb"\1", quoted[1])
    if len(values) > 1 or not KEY.fullmatch(key):
        raise bad_request("Idempotency-Key must be 1 to 255 printable characters")
    return key


def task_id(secret: bytes, user_id: str, key: bytes) -> str:
    """A UUID of version 4 that nobody can compute from the key without the secret."""
    digest = hmac.digest(secret, b"id:%b:%b" % (user_id.lower().encode(), key), "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def fingerprint(secret: bytes, title: str, description: str | None) -> bytes:
    """Tells the same task from another; keyed, so that it does not give away a title that was changed since."""
    sent = json.dumps([title, description]).encode()
    return hmac.digest(secret, b"task:" + sent, "sha256")
