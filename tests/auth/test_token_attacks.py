"""Attacks with forged tokens: every one gets the same 401, byte for byte, with and without the token cache."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from service.auth import tokens as token_module
from service.auth.token_cutoffs import TokenCutoffs
from service.auth.tokens import Tokens, User
from service.errors import ApiError
from service.postgres.pool import Pool, deadline_after
from tests.support.api import SECRET, token
from tests.support.raw_tokens import REFUSAL, REFUSAL_HEADERS, ask
from tests.support.service_process import ServiceProcess
from tests.support.token_attacks import ATTACKS, EITHER, GOOD, HARMLESS, HEADER, claims, sign


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_gets_the_same_401(service: ServiceProcess, name: str) -> None:
    status, headers, body = ask(service, ATTACKS[name])
    assert (status, body) == (b"HTTP/1.1 401 Unauthorized", REFUSAL)
    assert headers == REFUSAL_HEADERS | ({b"cache-control: no-store"} if ATTACKS[name] else set())


@pytest.mark.parametrize(
    "request_line", [b"POST /api/tasks", b"GET /api/tasks/1", b"PUT /api/tasks/1", b"DELETE /api/tasks/1"]
)
def test_every_call_gives_the_same_401(service: ServiceProcess, request_line: bytes) -> None:
    values = [b"Bearer x"]
    assert ask(service, values, request_line) == ask(service, values)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_valid_token_is_accepted(service: ServiceProcess, name: str) -> None:
    status, _, body = ask(service, [b"Bearer " + HARMLESS[name]])
    assert (status, body) == (b"HTTP/1.1 200 OK", b'{"tasks":[]}')


@pytest.mark.parametrize("name", EITHER)
def test_an_unusual_signed_token_never_causes_a_500(service: ServiceProcess, name: str) -> None:
    status, _, _ = ask(service, [b"Bearer " + EITHER[name]])
    assert status in (b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized")


@pytest.mark.parametrize(
    "value", [b"bearer " + GOOD, b"BEARER " + GOOD, b"  Bearer " + GOOD + b"  ", b"Bearer   " + GOOD]
)
def test_the_case_of_bearer_and_surrounding_blanks_do_not_matter(service: ServiceProcess, value: bytes) -> None:
    assert ask(service, [value])[0] == b"HTTP/1.1 200 OK"


@pytest.fixture
async def tokens(database_url: str) -> AsyncIterator[Tokens]:
    pool = Pool(database_url)
    yield Tokens(SECRET, 1, TokenCutoffs(pool))
    await pool.close()


async def user_of(tokens: Tokens, authorization: bytes) -> User:
    """The user, determined as for a request."""
    return tokens.remembered(authorization) or await tokens.verify(authorization, deadline_after())


@pytest.mark.anyio
async def test_a_remembered_token_with_one_changed_letter_is_refused(tokens: Tokens) -> None:
    good = b"Bearer " + GOOD
    await user_of(tokens, good)
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        with pytest.raises(ApiError):
            await user_of(tokens, bytes(changed))
    assert tokens.remembered(good)


@pytest.mark.anyio
async def test_iat_may_be_ahead_by_the_allowed_clock_difference_only(tokens: Tokens) -> None:
    now = int(time.time())
    await user_of(tokens, b"Bearer " + sign(HEADER, claims(iat=now + 10)))
    with pytest.raises(ApiError):
        await user_of(tokens, b"Bearer " + sign(HEADER, claims(iat=now + 20)))


@pytest.mark.anyio
async def test_a_remembered_token_expires_at_its_exp(tokens: Tokens) -> None:
    expires = int(time.time()) + 2
    short = f"Bearer {token(user_id=str(uuid.uuid4()), exp=expires)}".encode()
    while time.time() < expires - 0.05:
        await user_of(tokens, short)
        await asyncio.sleep(0.02)
    while time.time() < expires:  # a timer of uvloop may end some milliseconds early
        await asyncio.sleep(0.002)
    with pytest.raises(ApiError):
        await user_of(tokens, short)


@pytest.mark.anyio
async def test_the_token_cache_is_bounded_and_holds_no_refused_token(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "CACHE_SIZE", 20)
    for _ in range(50):
        user = str(uuid.uuid4())
        assert (await user_of(tokens, f"Bearer {token(user_id=user)}".encode())).id == user
        with pytest.raises(ApiError):
            other = token("another secret, long enough for HS256", user_id=user)
            await user_of(tokens, f"Bearer {other}".encode())
        assert len(tokens._remembered) <= 20
    assert len(tokens._remembered) == 20


@pytest.mark.anyio
async def test_a_token_is_cached_once_for_all_its_spellings(tokens: Tokens) -> None:
    """Otherwise each number of blanks after the scheme would be an entry of its own: 2 GB with one token."""
    for spelling in (b"Bearer %b", b"bearer %b", b"BEARER   %b", b"Bearer%b%%b" % (b" " * 1000), b"Bearer %b   "):
        assert await user_of(tokens, spelling % GOOD)
    assert list(tokens._remembered) == [b"Bearer " + GOOD]
    for addition in (b"!", b"\xff", b"=", b".", b"!" * 100):  # Python's base64 decoder skips most other characters
        with pytest.raises(ApiError):
            await user_of(tokens, b"Bearer " + GOOD + addition)
    assert len(tokens._remembered) == 1


def test_an_authorization_header_above_8_kib_is_401(service: ServiceProcess) -> None:
    padding = 8192 - len(b"Bearer ") - len(GOOD)
    assert ask(service, [b"Bearer " + b" " * padding + GOOD])[0] == b"HTTP/1.1 200 OK"
    status, _, body = ask(service, [b"Bearer " + b" " * (padding + 1) + GOOD])
    assert (status, body) == (b"HTTP/1.1 401 Unauthorized", REFUSAL)
