"""Fetching Better Auth's published keys: rarely, once for all waiting requests, without blocking, with limits."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from service.auth import better_auth, tokens
from tests.support.answers import assert_error
from tests.support.api import Api, User, serve, settings
from tests.support.certificates import make_certificate

pytestmark = pytest.mark.anyio

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class KeyServer:
    """Publishes keys that it generates, or the answer that a test sets."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Ed25519PrivateKey] = {}
        self.asked = 0
        self.seconds = 0.0
        self.answer: bytes | None = None
        self.drips = False
        """Whether it sends its answer byte by byte without end."""

    def person(self, kid: str, subject: str = "ada", **others: Any) -> User:
        """A user with a token, signed with the key of this id, which is generated if necessary."""
        key = self.keys.setdefault(kid, Ed25519PrivateKey.generate())
        claims = {"sub": subject, "iss": self.url, "aud": self.url, "exp": int(time.time()) + 900, **others}
        return User("", "", jwt.encode(claims, key, "EdDSA", {"kid": kid}))

    def document(self) -> bytes:
        keys = [
            {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "alg": "EdDSA", "kid": kid}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /api/auth/jwks HTTP/1.1\r\n")
            self.asked += 1
            await asyncio.sleep(self.seconds)
            writer.write(self.answer or ok(self.document()))
            while self.drips:
                await asyncio.sleep(0.05)
                writer.write(b" ")
                await writer.drain()
            await writer.drain()
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            pass  # the service has left; uvloop raises RuntimeError for a write after that
        finally:
            writer.close()


def ok(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return head + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    keys = KeyServer()
    server = await asyncio.start_server(keys.serve, "127.0.0.1", 0)
    keys.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    keys.person("first")
    yield keys
    server.close()


@asynccontextmanager
async def service(url: str, keys: KeyServer, owner: psycopg.Connection | None = None) -> AsyncIterator[Api]:
    async with serve(settings(url, better_auth_url=keys.url), owner) as api:
        yield api


async def status(api: Api, user: User) -> int:
    return (await api.list_tasks(user)).status_code


async def test_waiting_requests_share_one_fetch(database_url: str, key_server: KeyServer) -> None:
    key_server.seconds = 0.3
    async with service(database_url, key_server) as api:
        people = [key_server.person("first", f"person {number}") for number in range(20)]
        assert await asyncio.gather(*(status(api, user) for user in people)) == [200] * 20
    assert key_server.asked == 1


async def test_unknown_key_ids_cause_a_limited_rate_of_fetches(
    database_url: str, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url, key_server) as api:
        assert await status(api, key_server.person("first")) == 200
        stranger = KeyServer()
        stranger.url = key_server.url
        for number in range(40):
            assert_error(await api.list_tasks(stranger.person(f"made up {number}")), 401, "Unauthorized")
        assert key_server.asked == 1
        monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", 0.2)
        await asyncio.sleep(0.2)
        assert await status(api, key_server.person("second")) == 200
        assert key_server.asked == 2


async def test_a_hanging_key_server_delays_its_requests_by_two_seconds_and_no_others(
    database_url: str, key_server: KeyServer, owner: psycopg.Connection
) -> None:
    key_server.seconds = 30
    async with service(database_url, key_server, owner) as api:
        began = time.monotonic()
        waiting = asyncio.ensure_future(api.list_tasks(key_server.person("first")))
        local = api.user()
        answered = 0
        while not waiting.done():
            assert await status(api, local) == 200
            answered += 1
            await asyncio.sleep(0.01)
        assert answered >= 5
        assert_error(await waiting, 503, "Service temporarily unavailable")
        assert 1 < time.monotonic() - began < 15
        # A second request within the pause causes no second fetch.
        assert_error(await api.list_tasks(key_server.person("first")), 503, "Service temporarily unavailable")
    assert key_server.asked == 1


@pytest.mark.parametrize("others_stay", [True, False], ids=["one of two", "the last"])
async def test_a_withdrawn_key_is_dropped_by_the_refresh_in_the_background(
    database_url: str, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch, others_stay: bool
) -> None:
    monkeypatch.setattr(better_auth, "REFRESH_SECONDS", 0.5)
    monkeypatch.setattr(tokens, "RECHECK_SECONDS", 0.2)
    async with service(database_url, key_server) as api:
        remembered = key_server.person("first", exp=int(time.time()) + 10**6)
        assert await status(api, remembered) == 200
        del key_server.keys["first"]
        if others_stay:
            key_server.person("second")
        deadline = time.monotonic() + 5
        while await status(api, remembered) == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert await status(api, remembered) == 401
    assert key_server.asked > 1


async def test_the_first_token_after_a_long_pause_waits_for_the_keys(
    database_url: str, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url, key_server) as api:
        assert await status(api, key_server.person("first")) == 200
        stolen = [key_server.person("first", f"person {number}") for number in range(5)]
        del key_server.keys["first"]
        key_server.person("second")
        key_server.seconds = 0.1
        monkeypatch.setattr(better_auth, "REFRESH_SECONDS", 0.5)
        await asyncio.sleep(1.2)
        assert await asyncio.gather(*(status(api, user) for user in stolen)) == [401] * 5


async def test_a_slow_key_server_occupies_no_thread_and_does_not_delay_the_stop(
    database_url: str, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch in a thread would occupy it as long as the server sends, and the stop would wait for it."""
    monkeypatch.setattr(better_auth, "UNKNOWN_SECONDS", 0.0)
    monkeypatch.setattr(better_auth, "FETCH_SECONDS", 0.3)
    key_server.answer, key_server.drips = ok(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n"), True
    threads = threading.active_count()
    async with service(database_url, key_server) as api:
        for number in range(3):
            assert_error(await api.list_tasks(key_server.person(f"key {number}")), 503)
        assert key_server.asked == 3
        stopping = time.monotonic()
    key_server.drips = False
    assert time.monotonic() - stopping < 10
    assert threading.active_count() == threads


async def test_keys_are_not_fetched_while_no_token_needs_them(
    database_url: str, key_server: KeyServer, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_auth, "REFRESH_SECONDS", 0.0)
    async with service(database_url, key_server, owner) as api:
        local = api.user()
        for _ in range(20):
            assert await status(api, local) == 200
            await asyncio.sleep(0.01)
    assert key_server.asked == 1


async def test_the_key_servers_certificate_is_verified(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("-subj", "/CN=keys", "-addext", "subjectAltName=IP:127.0.0.1")
    make_certificate(tmp_path, *names, "-keyout", "key.pem", "-out", "cert.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    keys = KeyServer()
    server = await asyncio.start_server(keys.serve, "127.0.0.1", 0, ssl=tls)
    keys.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    user = keys.person("first")
    async with service(database_url, keys) as api:
        assert_error(await api.list_tasks(user), 503, "Service temporarily unavailable")
    assert keys.asked == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    async with service(database_url, keys) as api:
        assert await status(api, user) == 200
    server.close()


async def test_a_weak_key_is_ignored(database_url: str, key_server: KeyServer) -> None:
    key = generate_private_key(65537, 1024)
    weak = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "alg": "RS256", "kid": "weak"}
    key_server.answer = ok(json.dumps({"keys": [weak]}).encode())
    claims = jwt.decode(key_server.person("first").token, options={"verify_signature": False})
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(claims, key, "RS256", {"kid": "weak"})
    async with service(database_url, key_server) as api:
        assert_error(await api.list_tasks(User("", "", token)), 401, "Unauthorized")


SECRET_KEY = b'{"keys": [{"kty": "oct", "kid": "first", "alg": "HS256", "k": "%s"}]}' % (b"A" * 64)
POINT = b'{"keys": [{"kty": "EC", "crv": "%%s", "kid": "first", "alg": "ES256", "x": "%s", "y": "%s"}]}' % (
    b"A" * 43,
    b"B" * 43,
)
ANSWERS = {
    "an error": ok(b"{}", b"HTTP/1.1 500 Internal Server Error\r\n"),
    "a redirect": ok(b"", b"HTTP/1.1 302 Found\r\nLocation: /api/auth/jwks\r\n"),
    "no JSON": ok(b"<html>"),
    "no UTF-8": ok(b"\xff\xfe"),
    "no object": ok(b"[]"),
    "no keys": ok(b'{"keys": []}'),
    "keys of another type": ok(b'{"keys": {"kid": "first"}}'),
    "a key id of another type": ok(
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": ["first"], "x": "%s"}]}' % (b"A" * 43)
    ),
    "for encryption": ok(
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "first", "use": "enc", "x": "%s"}]}' % (b"A" * 43)
    ),
    "a secret": ok(SECRET_KEY),
    "a secret that says it is none": ok(SECRET_KEY.replace(b"HS256", b"EdDSA")),
    "a point beside its curve": ok(POINT % b"P-256"),
    "a curve that the algorithm does not have": ok(POINT % b"P-521"),
    "nesting without end": ok(b"[" * 50_000),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_not_a_key_set_accepts_no_token(
    database_url: str, key_server: KeyServer, owner: psycopg.Connection, name: str
) -> None:
    user = key_server.person("first")
    secret = jwt.encode(
        jwt.decode(user.token, options={"verify_signature": False}), "\0" * 48, "HS256", {"kid": "first"}
    )
    key_server.answer = ANSWERS[name]
    async with service(database_url, key_server, owner) as api:
        # Without a key set the answer is 503. A set without usable keys leaves the key unknown: 401.
        without_the_key = name in ("a secret", "no keys", "for encryption")
        assert_error(await api.list_tasks(user), 401 if without_the_key else 503)
        assert_error(await api.list_tasks(User("", "", secret)), 401, "Unauthorized")
        assert await status(api, api.user()) == 200
    assert key_server.asked == 1


async def test_a_key_set_over_64_kib_is_refused(database_url: str, key_server: KeyServer) -> None:
    document = key_server.document()
    for size, expected in ((65536, 200), (65537, 503), (10_000_000, 503)):
        key_server.answer = ok(document.ljust(size))
        async with service(database_url, key_server) as api:
            assert await status(api, key_server.person("first")) == expected, size


async def test_known_keys_stay_when_a_fetch_fails(
    database_url: str, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url, key_server) as api:
        assert await status(api, key_server.person("first")) == 200
        monkeypatch.setattr(better_auth, "REFRESH_SECONDS", 0.5)
        key_server.answer = ANSWERS["an error"]
        for number in range(3):
            await asyncio.sleep(0.6)
            assert await status(api, key_server.person("first", f"person {number}")) == 200
        await asyncio.sleep(0.1)
    assert key_server.asked > 1
