"""Tokens of a Better Auth installation (BETTER_AUTH_URL), which signs with key pairs and publishes the public keys.

Two kinds of token, two paths: HS256 goes to the secret. A token that names a published key (`kid`) is checked with that
key alone, and with the algorithm of the key, never the token's. The keys are kept while the installation is away.
"""

import asyncio
import json
import logging
import ssl
import time
import uuid
from urllib.parse import urlsplit

import httptools
import jwt
from jwt.types import Options

from service.auth.token_cutoffs import TokenCutoffs
from service.auth.tokens import Tokens, User, Verified, read_claims
from service.errors import unauthorized, unavailable

logger = logging.getLogger("service.auth.better_auth")

ALGORITHMS = ("EdDSA", "ES256", "ES512", "PS256", "RS256")
"""What Better Auth can be set to. A key is accepted only with the algorithm it was published for."""
CHECKS: Options = {"require": ["exp", "iss", "aud", "sub"], "verify_iat": False, "enforce_minimum_key_length": True}
FETCH_SECONDS = 2.0
LARGEST_BYTES = 65536
UNKNOWN_SECONDS = 10.0
"""Unknown key ids make the service fetch the keys no more often than this."""
REFRESH_SECONDS = 300.0
"""How old the keys may be before a token in use has them fetched again, in the background. At twice that age, after a
time without tokens, a token waits for them: its key may be withdrawn."""


class BetterAuthTokens(Tokens):
    """While nobody uses such tokens nothing is fetched: it would wake the frontend's database."""

    def __init__(self, secret: str, hours: float, cutoffs: TokenCutoffs, issuer: str) -> None:
        super().__init__(secret, hours, cutoffs)
        self._issuer = issuer
        self._tls = ssl.create_default_context() if issuer.startswith("https:") else None
        self._namespace = uuid.uuid5(uuid.NAMESPACE_URL, issuer)
        self._published = b""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._answered = False
        self._asked = 0.0
        self._fetching = asyncio.create_task(self._fetch())

    async def _decode(self, token: bytes) -> Verified:
        header = jwt.get_unverified_header(token)
        if "kid" not in header or header.get("alg") not in ALGORITHMS:
            return await super()._decode(token)
        key = await self._key(header["kid"])
        claims = jwt.decode(token, key, options=CHECKS, audience=self._issuer, issuer=self._issuer)
        if not claims["sub"]:
            raise ValueError("sub")
        return read_claims(claims, User(str(uuid.uuid5(self._namespace, claims["sub"])), federated=True))

    async def _key(self, kid: str) -> jwt.PyJWK:
        """Raises ApiError: 401 for an unknown key, 503 where the installation does not answer."""
        key, age = self._keys.get(kid), time.monotonic() - self._asked
        if self._fetching.done() and age > (REFRESH_SECONDS if key else UNKNOWN_SECONDS):
            self._fetching = asyncio.create_task(self._fetch())
        if not self._fetching.done() and (key is None or age > 2 * REFRESH_SECONDS):
            await asyncio.wait([self._fetching])
            key = self._keys.get(kid)
        if key is None:
            raise unauthorized() if self._answered else unavailable()
        return key

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                published = await _fetch_keys(self._issuer, self._tls)
            if published != self._published:
                self._keys = _usable_keys(published)
                self._published = published
                self._remembered.clear()  # no token outlives its key
            self._answered = True
        except Exception as error:
            logger.warning("no keys from %s", self._issuer, exc_info=error)
            self._answered = False
        self._asked = time.monotonic()


def _usable_keys(published: bytes) -> dict[str, jwt.PyJWK]:
    document = json.loads(published)
    # PyJWKSet leaves out the keys that it cannot use. It refuses an empty set, which means that all are withdrawn.
    keys = jwt.PyJWKSet.from_dict(document).keys if document["keys"] != [] else []
    return {key.key_id: key for key in keys if key.key_id and key.public_key_use in (None, "sig")}


class _Response:
    """What httptools calls while it parses an answer."""

    def __init__(self) -> None:
        self.body = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > LARGEST_BYTES:
            raise ValueError("the answer is too large")

    def on_message_complete(self) -> None:
        self.is_complete = True


async def _fetch_keys(issuer: str, tls: ssl.SSLContext | None) -> bytes:
    """The body of /api/auth/jwks. On the event loop: a thread could be held for ever by a server that sends a byte at a
    time. No redirect is followed."""
    target = urlsplit(issuer)
    port = target.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(target.hostname, port, ssl=tls)
    try:
        writer.write(b"GET /api/auth/jwks HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % target.netloc.encode())
        response = _Response()
        parser = httptools.HttpResponseParser(response)
        while not response.is_complete and (data := await reader.read(LARGEST_BYTES)):
            parser.feed_data(data)
    finally:
        writer.transport.abort()
    if parser.get_status_code() != 200:
        raise ValueError(f"status {parser.get_status_code()}")
    return response.body
