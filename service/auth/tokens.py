"""Who is asking: tokens (HS256, the secret shared with the frontend) and the user that a request acts for."""

import asyncio
import math
import re
import time
from typing import Any, NamedTuple

import jwt
from jwt.types import Options

from service.auth.token_cutoffs import TokenCutoffs
from service.errors import unauthorized, unavailable

CLOCK_SKEW_SECONDS = 15
"""How far ahead the frontend's clock may be: for `iat` only, `exp` is taken at its word."""
CACHE_SIZE = 10_000
RECHECK_SECONDS = 30.0
"""How old the answer may be that a token's user was not signed out."""
LARGEST_HEADER_BYTES = 8192
BEARER = re.compile(rb"bearer +([\w-]+\.[\w-]+\.[\w-]+) *", re.IGNORECASE | re.ASCII)
"""Base64url alone: Python's decoder skips other characters, so that one token would have spellings without end."""
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""A UUID in its usual spelling; uuid.UUID() takes braces and "urn:" too, and takes its time."""
# `iat` is checked below, with room for the clocks; `aud` is not: the frontend may name itself.
CHECKS: Options = {"require": ["exp"], "verify_iat": False, "verify_aud": False, "enforce_minimum_key_length": True}


class User(NamedTuple):
    """The user that a request acts for."""

    id: str
    federated: bool = False
    """Better Auth vouches for the user: there is no row in `users` before the first task."""


class Verified(NamedTuple):
    """What a token with a good signature says."""

    user: User
    issued_at: float
    """0 where the token does not say: any cutoff ends it."""
    expires_at: float


class Remembered(NamedTuple):
    """A token that was checked."""

    until: float
    """When it has to be checked again."""
    user: User | None
    """None: the token was ended."""
    verified: Verified | None
    """What stays true of a token that was signed with the secret and is not ended; None: all of it is checked again."""


class Tokens:
    """Issues and verifies tokens. To be made inside the running event loop.

    A verified token is remembered, because the signature costs more than the rest of a request's Python. Whether it was
    ended since is checked every RECHECK_SECONDS.
    """

    def __init__(self, secret: str, hours: float, cutoffs: TokenCutoffs) -> None:
        self._secret = secret
        self._seconds = max(1, int(hours * 3600))
        self._cutoffs = cutoffs
        self._remembered: dict[bytes, Remembered] = {}
        self._checking: dict[bytes, asyncio.Task[User | None]] = {}

    def issue(self, user_id: str, email: str, issued_at: float) -> str:
        now = int(issued_at)
        # `sub` for those who expect the standard's name, `user_id` because the frontend reads it.
        claims = {"user_id": user_id, "sub": user_id, "email": email, "iat": now, "exp": now + self._seconds}
        return jwt.encode(claims, self._secret, "HS256")

    def remembered(self, authorization: bytes) -> User | None:
        """The user of an `Authorization` header's value, if it was verified lately and is spelt as usual."""
        known = self._remembered.get(authorization)
        return known.user if known is not None and time.time() < known.until else None

    async def verify(self, authorization: bytes, deadline: float) -> User:
        """The user of an `Authorization` header's value; raises ApiError 401 for all but a good token, 503 where it is
        not known before `deadline` whether the token is good."""
        bearer = BEARER.fullmatch(authorization) if len(authorization) <= LARGEST_HEADER_BYTES else None
        if bearer is None:
            raise unauthorized()
        key = b"Bearer " + bearer[1]
        known, now = self._remembered.get(key), time.time()
        if known is not None and now < known.until:
            user = known.user
        elif (verified := self._signed(key, now)) and self._cutoffs.are_listed():
            user = self._recheck(key, verified)
        else:
            user = await self._shared_check(key, bearer[1], deadline)
        if user is None:
            raise unauthorized()
        return user

    async def _shared_check(self, key: bytes, token: bytes, deadline: float) -> User | None:
        """One check for all requests that bring the token meanwhile."""

        def end(check: asyncio.Task[User | None]) -> None:
            del self._checking[key]
            if not check.cancelled():
                check.exception()  # or asyncio logs it where nobody waits any more

        check = self._checking.get(key)
        if check is None:
            check = self._checking[key] = asyncio.create_task(self._check(key, token))
            check.add_done_callback(end)
        await asyncio.wait([check], timeout=deadline - time.monotonic())
        if not check.done():
            raise unavailable()
        return check.result()

    async def _check(self, key: bytes, token: bytes) -> User | None:
        began = time.time()
        if signed := self._signed(key, began):
            await self._cutoffs.list_new()
            return self._recheck(key, signed)
        try:
            verified = await self._decode(token)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise unauthorized() from None
        return self._remember(key, verified, await self._cutoffs.valid_from(verified.user.id), began)

    def _signed(self, key: bytes, now: float) -> Verified | None:
        """What a remembered token says, where its signature need not be verified again."""
        known = self._remembered.get(key)
        return known.verified if known and known.verified and now < known.verified.expires_at else None

    def _recheck(self, key: bytes, verified: Verified) -> User | None:
        cutoff, age = self._cutoffs.new(verified.user.id)
        return self._remember(key, verified, cutoff, time.time() - age)

    def _remember(self, key: bytes, verified: Verified, cutoff: float, checked: float) -> User | None:
        user = None if verified.issued_at < cutoff else verified.user
        stays = verified if user is not None and not user.federated else None
        if len(self._remembered) >= CACHE_SIZE:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = Remembered(min(verified.expires_at, checked + RECHECK_SECONDS), user, stays)
        return user

    async def _decode(self, token: bytes) -> Verified:
        # The algorithm is ours to choose, never the token's (RFC 8725, 3.1).
        claims = jwt.decode(token, self._secret, ["HS256"], CHECKS)
        return read_claims(claims, User(_user_id(claims)))


def read_claims(claims: dict[str, Any], user: User) -> Verified:
    """Raises ValueError where a time claim is of another type or `iat` lies in the future."""
    for name in ("exp", "iat", "nbf"):
        # bool is an int to Python, and PyJWT takes the string "99999999999" for a time.
        if name in claims and not (type(claims[name]) in (int, float) and math.isfinite(claims[name])):
            raise ValueError(name)
    issued_at = float(claims.get("iat", 0))
    if issued_at > time.time() + CLOCK_SKEW_SECONDS:
        raise ValueError("iat")
    return Verified(user, issued_at, float(claims["exp"]))


def _user_id(claims: dict[str, Any]) -> str:
    user = claims["user_id"] if "user_id" in claims else claims.get("sub")
    if not (isinstance(user, str) and UUID.fullmatch(user)):
        raise ValueError("user_id")
    return user
