"""Every attack on a token gets the one answer to the byte, and the memory of verified tokens opens no door."""

import time
import uuid

import pytest

from service.auth import tokens as token_module
from service.auth.tokens import Tokens
from service.errors import ApiError
from tests.support.api import SECRET, token
from tests.support.attacks import ATTACKS, EITHER, GOOD, HARMLESS, HEADER, claims, sign
from tests.support.raw_tokens import REFUSAL, REFUSAL_HEADERS, ask
from tests.support.service_process import ServiceProcess


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_the_same_bytes(live: ServiceProcess, name: str) -> None:
    status, headers, body = ask(live, ATTACKS[name])
    assert (status, body) == (b"HTTP/1.1 401 Unauthorized", REFUSAL)
    assert headers == REFUSAL_HEADERS | ({b"cache-control: no-store"} if ATTACKS[name] else set())


@pytest.mark.parametrize(
    "request_line", [b"POST /api/tasks", b"GET /api/tasks/1", b"PUT /api/tasks/1", b"DELETE /api/tasks/1"]
)
def test_the_answer_is_the_same_for_every_call(live: ServiceProcess, request_line: bytes) -> None:
    values = [b"Bearer x"]
    assert ask(live, values, request_line) == ask(live, values)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_signed_with_our_key_and_right_is_let_in(live: ServiceProcess, name: str) -> None:
    status, _, body = ask(live, [b"Bearer " + HARMLESS[name]])
    assert (status, body) == (b"HTTP/1.1 200 OK", b'{"tasks":[]}')


@pytest.mark.parametrize("name", EITHER)
def test_what_is_signed_with_our_key_and_odd_breaks_nothing(live: ServiceProcess, name: str) -> None:
    status, _, _ = ask(live, [b"Bearer " + EITHER[name]])
    assert status in (b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized")


@pytest.mark.parametrize(
    "value", [b"bearer " + GOOD, b"BEARER " + GOOD, b"  Bearer " + GOOD + b"  ", b"Bearer   " + GOOD]
)
def test_case_of_the_scheme_and_blanks_around_do_not_matter(live: ServiceProcess, value: bytes) -> None:
    assert ask(live, [value])[0] == b"HTTP/1.1 200 OK"


def test_one_letter_changed_in_a_token_that_is_remembered_is_refused() -> None:
    tokens = Tokens(SECRET, 1)
    good = b"Bearer " + GOOD
    tokens.user(good)
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        with pytest.raises(ApiError):
            tokens.user(bytes(changed))
    tokens.user(good)


def test_iat_may_be_as_far_ahead_as_two_clocks_and_no_further() -> None:
    tokens = Tokens(SECRET, 1)
    now = int(time.time())
    tokens.user(b"Bearer " + sign(HEADER, claims(iat=now + 10)))
    with pytest.raises(ApiError):
        tokens.user(b"Bearer " + sign(HEADER, claims(iat=now + 20)))


def test_a_remembered_token_ends_at_its_exp() -> None:
    tokens = Tokens(SECRET, 1)
    expires = int(time.time()) + 2
    short = f"Bearer {token(user_id=str(uuid.uuid4()), exp=expires)}".encode()
    while time.time() < expires - 0.05:
        tokens.user(short)
        time.sleep(0.02)
    time.sleep(max(0, expires - time.time()))
    with pytest.raises(ApiError):
        tokens.user(short)


def test_the_memory_of_tokens_is_bounded_and_keeps_no_refused_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "CACHE_SIZE", 100)
    tokens = Tokens(SECRET, 1)
    for _ in range(250):
        user = str(uuid.uuid4())
        assert tokens.user(f"Bearer {token(user_id=user)}".encode()).id == user
        with pytest.raises(ApiError):
            tokens.user(f"Bearer {token('another secret, long enough for HS256', user_id=user)}".encode())
        assert len(tokens._verified) <= 100
    assert len(tokens._verified) == 100
