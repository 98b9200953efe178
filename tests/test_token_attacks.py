"""Every attack on a token gets the one answer to the byte, and the memory of verified tokens opens no door."""

import re
import socket
import time
import uuid

import pytest

from service import auth
from service.auth import Tokens
from service.errors import ApiError
from tests.api import SECRET, token
from tests.attacks import ATTACKS, EITHER, GOOD, HARMLESS, HEADER, claims, sign
from tests.live import Live

REFUSAL = b'{"error": "Unauthorized"}'
REFUSAL_HEADERS = {
    b"content-type: application/json",
    b"content-length: %d" % len(REFUSAL),
    b"www-authenticate: Bearer",
    b"x-content-type-options: nosniff",
    b"vary: Origin",
    b"connection: close",
}
NOT_COMPARED = re.compile(rb"(date|server|x-request-id): ", re.IGNORECASE)


def ask(live: Live, values: list[bytes], request: bytes = b"GET /api/tasks") -> tuple[bytes, set[bytes], bytes]:
    """Status line, headers and body, as they come out of the socket."""
    lines = [request + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    lines += [b"Authorization: " + value for value in values]
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status, {header for header in headers if not NOT_COMPARED.match(header)}, body


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_the_same_bytes(live: Live, name: str) -> None:
    status, headers, body = ask(live, ATTACKS[name])
    assert (status, body) == (b"HTTP/1.1 401 Unauthorized", REFUSAL)
    assert headers == REFUSAL_HEADERS | ({b"cache-control: no-store"} if ATTACKS[name] else set())


@pytest.mark.parametrize(
    "request_line", [b"POST /api/tasks", b"GET /api/tasks/1", b"PUT /api/tasks/1", b"DELETE /api/tasks/1"]
)
def test_the_answer_is_the_same_for_every_call(live: Live, request_line: bytes) -> None:
    values = [b"Bearer x"]
    assert ask(live, values, request_line) == ask(live, values)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_signed_with_our_key_and_right_is_let_in(live: Live, name: str) -> None:
    status, _, body = ask(live, [b"Bearer " + HARMLESS[name]])
    assert (status, body) == (b"HTTP/1.1 200 OK", b'{"tasks":[]}')


@pytest.mark.parametrize("name", EITHER)
def test_what_is_signed_with_our_key_and_odd_breaks_nothing(live: Live, name: str) -> None:
    status, _, _ = ask(live, [b"Bearer " + EITHER[name]])
    assert status in (b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized")


@pytest.mark.parametrize(
    "value", [b"bearer " + GOOD, b"BEARER " + GOOD, b"  Bearer " + GOOD + b"  ", b"Bearer   " + GOOD]
)
def test_case_of_the_scheme_and_blanks_around_do_not_matter(live: Live, value: bytes) -> None:
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
    monkeypatch.setattr(auth, "CACHE_SIZE", 100)
    tokens = Tokens(SECRET, 1)
    for _ in range(250):
        user = str(uuid.uuid4())
        assert tokens.user(f"Bearer {token(user_id=user)}".encode()) == user
        with pytest.raises(ApiError):
            tokens.user(f"Bearer {token('another secret, long enough for HS256', user_id=user)}".encode())
        assert len(tokens._verified) <= 100
    assert len(tokens._verified) == 100
