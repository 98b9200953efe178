"""Tokens of a Better Auth installation (BETTER_AUTH_URL), which signs with key pairs and publishes the public keys.

Two kinds of token, two paths: HS256 goes to the secret, what names a published key (`kid`) to that key alone, with the
algorithm of the key, never the token's word. The keys are kept while the installation is away.
"""

import asyncio
import contextlib
import http.client
import logging
import time
import uuid

import jwt
from jwt.types import Options

from service.auth.tokens import KeysPending, Tokens, User, expiry
from service.errors import unauthorized, unavailable

logger = logging.getLogger("service.auth.better_auth")

ALGORITHMS = ("EdDSA", "ES256", "ES512", "PS256", "RS256")
"""What Better Auth can be set to. A key does for the one of them that it is published for."""
CHECKS: Options = {"require": ["exp", "iss", "aud", "sub"], "verify_iat": False, "enforce_minimum_key_length": True}
FETCH_SECONDS = 2.0
LARGEST_BYTES = 65536
UNKNOWN_SECONDS = 10.0
"""Whoever makes up key ids makes the service ask for the keys no more often than this."""
REFRESH_SECONDS = 300.0
"""How old the keys may be before a token in use has them fetched anew, in the background; and how long a verified token
is remembered. At twice that age, after a time without tokens, a token waits for them: its key may be withdrawn."""


class BetterAuthTokens(Tokens):
    """To be made inside the running event loop. While nobody uses such tokens nothing is fetched: it would wake the
    frontend's database."""

    def __init__(self, secret: str, hours: float, issuer: str) -> None:
        super().__init__(secret, hours)
        self._issuer = issuer
        self._namespace = uuid.uuid5(uuid.NAMESPACE_URL, issuer)
        self._published = b""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._answered = False
        self._asked = 0.0
        self._fetching = asyncio.create_task(self._fetch())

    def _decode(self, token: bytes) -> tuple[float, User]:
        header = jwt.get_unverified_header(token)
        if "kid" not in header or header.get("alg") not in ALGORITHMS:
            return super()._decode(token)
        key = self._key(header["kid"])
        claims = jwt.decode(token, key, options=CHECKS, audience=self._issuer, issuer=self._issuer)
        if not claims["sub"]:
            raise ValueError("sub")
        user = User(str(uuid.uuid5(self._namespace, claims["sub"])), federated=True)
        return min(expiry(claims), time.time() + REFRESH_SECONDS), user

    def _key(self, kid: str) -> jwt.PyJWK:
        """Raises KeysPending where the answer is on its way; ApiError 401 for an unknown key, 503 where nobody says."""
        key, age = self._keys.get(kid), time.monotonic() - self._asked
        if self._fetching.done() and age > (REFRESH_SECONDS if key else UNKNOWN_SECONDS):
            self._fetching = asyncio.create_task(self._fetch())
        if not self._fetching.done() and (key is None or age > 2 * REFRESH_SECONDS):
            raise KeysPending(self._fetching)
        if key is None:
            raise unauthorized() if self._answered else unavailable()
        return key

    async def _fetch(self) -> None:
        try:
            published = await asyncio.wait_for(asyncio.to_thread(_get, self._issuer), FETCH_SECONDS)
            if published != self._published:
                keys = jwt.PyJWKSet.from_json(published.decode())  # without those that it cannot use
                self._keys = {key.key_id: key for key in keys if key.key_id}
                self._published = published
                self._verified.clear()  # no token outlives its key
            self._answered = True
        except Exception as error:
            logger.warning("no keys from %s", self._issuer, exc_info=error)
            self._answered = False
        self._asked = time.monotonic()


def _get(issuer: str) -> bytes:
    """What stands under /api/auth/jwks; blocks. No redirect is followed."""
    scheme, _, host = issuer.partition("://")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(host, timeout=FETCH_SECONDS)) as connection:
        connection.request("GET", "/api/auth/jwks")
        with connection.getresponse() as answer:
            published = answer.read(LARGEST_BYTES + 1)
    if answer.status != 200 or len(published) > LARGEST_BYTES:
        raise ValueError(f"status {answer.status}, {len(published)} bytes")
    return published
