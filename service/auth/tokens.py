"""Who is asking: tokens (HS256, the secret shared with the frontend) and the user that a request acts for."""

import asyncio
import math
import re
import time
from typing import Any, NamedTuple

import jwt
from jwt.types import Options

from service.errors import unauthorized

CLOCK_SKEW_SECONDS = 15
"""How far ahead the frontend's clock may be: for `iat` only, `exp` is taken at its word."""
CACHE_SIZE = 10_000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
"""A UUID in its usual spelling; uuid.UUID() takes braces and "urn:" too, and takes its time."""
# `iat` is checked below, with room for the clocks; `aud` is not: the frontend may name itself.
CHECKS: Options = {"require": ["exp"], "verify_iat": False, "verify_aud": False, "enforce_minimum_key_length": True}


class User(NamedTuple):
    """The user that a request acts for."""

    id: str
    federated: bool = False
    """Better Auth vouches for the user: there is no row in `users` before the first task."""


class KeysPending(Exception):
    """The token cannot be judged before `fetch` is done."""

    def __init__(self, fetch: asyncio.Future[None]) -> None:
        self.fetch = fetch


class Tokens:
    """Issues and verifies tokens. Verified ones are remembered, because the signature costs more than the statement's
    share of Python; each with its `exp`, which is looked at every time, so that no token outlives it."""

    def __init__(self, secret: str, hours: float) -> None:
        self._secret = secret
        self._seconds = max(1, int(hours * 3600))
        self._verified: dict[bytes, tuple[float, User]] = {}

    def issue(self, user_id: str, email: str) -> str:
        now = int(time.time())
        # `sub` for those who expect the standard's name, `user_id` because the frontend reads it.
        claims = {"user_id": user_id, "sub": user_id, "email": email, "iat": now, "exp": now + self._seconds}
        return jwt.encode(claims, self._secret, "HS256")

    def user(self, authorization: bytes) -> User:
        """The user of an `Authorization` header's value; raises ApiError 401 for all but a good token."""
        known = self._verified.get(authorization)
        if known is not None and time.time() < known[0]:
            return known[1]
        expires, user = self._verify(authorization)
        if len(self._verified) >= CACHE_SIZE:
            del self._verified[next(iter(self._verified))]
        self._verified[authorization] = (expires, user)
        return user

    def _verify(self, authorization: bytes) -> tuple[float, User]:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise unauthorized()
        try:
            return self._decode(token.strip(b" "))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise unauthorized() from None

    def _decode(self, token: bytes) -> tuple[float, User]:
        # The algorithm is ours to choose, never the token's (RFC 8725, 3.1).
        claims = jwt.decode(token, self._secret, ["HS256"], CHECKS)
        return expiry(claims), User(_user_id(claims))


def expiry(claims: dict[str, Any]) -> float:
    """`exp` as a number; raises ValueError where a time claim is of another type or `iat` lies in the future."""
    for name in ("exp", "iat", "nbf"):
        # bool is an int to Python, and PyJWT takes the string "99999999999" for a time.
        if name in claims and not (type(claims[name]) in (int, float) and math.isfinite(claims[name])):
            raise ValueError(name)
    if claims.get("iat", 0) > time.time() + CLOCK_SKEW_SECONDS:
        raise ValueError("iat")
    return float(claims["exp"])


def _user_id(claims: dict[str, Any]) -> str:
    user = claims["user_id"] if "user_id" in claims else claims.get("sub")
    if not (isinstance(user, str) and UUID.fullmatch(user)):
        raise ValueError("user_id")
    return user
