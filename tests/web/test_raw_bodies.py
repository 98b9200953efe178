"""Raw request bodies: wrong lengths, chunks, trailers, the limit of 1 MiB, invalid UTF-8."""

import time
from contextlib import ExitStack

import pytest

from service.body_memory import ARRIVING_BYTES
from tests.support.raw_http import CHUNKED, LIVEZ, MIB, TASK, assert_refused, connect, exchange, post, request, sized
from tests.support.service_process import ServiceProcess

PATH = "/api/tasks"
CHUNKED_TASK = b"15\r\n" + TASK + b"\r\n0\r\n"
BAD_CHUNKS = {
    "no number": b"zz\r\n" + TASK,
    "negative": b"-1\r\n" + TASK,
    "beyond every integer": b"FFFFFFFFFFFFFFFFF\r\n" + TASK,
    "too short": b"5\r\n" + TASK + b"\r\n0\r\n\r\n",
    "line feeds alone": b"15\n" + TASK + b"\n0\n\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=list(BAD_CHUNKS))
def test_bad_chunks_are_400_and_close_the_connection(service: ServiceProcess, user: str, chunks: bytes) -> None:
    assert_refused(service.port, post(user, CHUNKED, body=chunks))


def test_a_content_length_that_is_too_short_ends_the_body(service: ServiceProcess, user: str) -> None:
    with connect(service.port) as connection:
        connection.send(post(user, b"Content-Length: 2"))
        assert connection.answer("POST", PATH).json() == {"error": "The request body must be valid JSON"}
        assert connection.ends(), "the rest of the body is not a request"


def test_a_content_length_that_is_too_long_waits_for_the_rest(service: ServiceProcess, user: str) -> None:
    with connect(service.port) as connection:
        connection.send(post(user, b"Content-Length: 23"))
        time.sleep(0.2)
        connection.send(b"  ")
        assert connection.answer("POST", PATH).status_code == 201


def test_a_content_length_of_5000_digits_is_no_500(service: ServiceProcess, user: str) -> None:
    """Python's int() refuses more than 4,300 digits."""
    assert exchange(service.port, post(user, b"Content-Length: " + b"0" * 5000 + b"21")).status_code < 500


def test_chunk_extensions_and_trailers_are_accepted(service: ServiceProcess, user: str) -> None:
    body = b"9;name=value\r\n" + TASK[:9] + b"\r\nC\r\n" + TASK[9:] + b"\r\n0\r\nX-Checksum: 1\r\n\r\n"
    assert exchange(service.port, post(user, CHUNKED, body=body)).status_code == 201


def test_trailers_do_not_become_headers(service: ServiceProcess, user: str) -> None:
    """A proxy may check headers, for example X-Forwarded-For, and still pass trailers on."""
    body = CHUNKED_TASK + b"Authorization: Bearer " + user.encode() + b"\r\n\r\n"
    assert exchange(service.port, request(f"POST {PATH}", CHUNKED, body=body)).status_code == 401


@pytest.mark.parametrize("trailer", [b"X-A: b\r\n" * 8192, b"X" * 65536])
def test_endless_trailers_are_cut_off(service: ServiceProcess, user: str, trailer: bytes) -> None:
    before = service.memory()
    with connect(service.port) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.send(post(user, CHUNKED, body=CHUNKED_TASK))
        for _ in range(320):
            connection.send(trailer)
    assert service.memory() - before < 8 * MIB


def test_an_endless_chunk_extension_is_cut_off(service: ServiceProcess, user: str) -> None:
    with connect(service.port) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.send(post(user, CHUNKED, body=b"15;"))
        for _ in range(320):
            connection.send(b"X" * 65536)


@pytest.mark.parametrize("framing", ["length", "chunks of 64 KiB", "chunks of 64 bytes"])
@pytest.mark.parametrize(("size", "status"), [(MIB, 201), (MIB + 1, 413)])
def test_a_body_over_1_mib_is_413_however_it_is_sent(
    service: ServiceProcess, user: str, framing: str, size: int, status: int
) -> None:
    body = TASK.rjust(size)
    if framing == "length":
        sent = post(user, sized(body), body=body)
    else:
        step = 64 * 1024 if "KiB" in framing else 64
        pieces = [body[start : start + step] for start in range(0, size, step)]
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        sent = post(user, CHUNKED, body=b"".join(chunks) + b"0\r\n\r\n")
    with connect(service.port, seconds=10) as connection:
        connection.send(sent + LIVEZ)
        assert connection.answer("POST", PATH).status_code == status
        assert connection.answer(path="/livez").status_code == 200, "the body was read to its end"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000000", CHUNKED])
def test_an_endless_body_is_413_and_uses_no_memory(service: ServiceProcess, user: str, framing: bytes) -> None:
    before = service.memory()
    with connect(service.port) as connection:
        connection.send(post(user, framing, body=b""))
        for _ in range(320):
            connection.send(
                (b"" if b"L" in framing else b"10000\r\n") + b"X" * 65536 + b"\r\n"[: 2 * (b"T" in framing)]
            )
        assert connection.answer("POST", PATH).status_code == 413
    assert service.memory() - before < 8 * MIB


def test_large_bodies_that_do_not_end_have_a_bounded_share_of_the_memory(service: ServiceProcess, user: str) -> None:
    """Beyond it they are 503. Bodies of tasks are small and do not count."""
    before, count = service.memory(), 2 * ARRIVING_BYTES // MIB
    unfinished = post(user, sized(b"x" * MIB), body=b"x" * (MIB - 1))
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(service.port)) for _ in range(count)]
        for connection in connections:
            connection.send(unfinished)
        answered = [connection for connection in connections if connection.is_answered(within=0.2)]
        assert {connection.answer("POST", PATH).status_code for connection in answered} == {503}
        assert len(answered) >= count - (ARRIVING_BYTES // MIB + 1)
        assert exchange(service.port, post(user, sized(TASK))).status_code == 201
        assert service.memory() - before < 2 * ARRIVING_BYTES
    body = TASK.rjust(MIB)
    assert exchange(service.port, post(user, sized(body), body=body)).status_code == 201, "there is room again"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_a_body_with_invalid_utf_8_is_400(service: ServiceProcess, user: str, bad: bytes) -> None:
    body = b'{"title": "' + bad + b'"}'
    assert exchange(service.port, post(user, sized(body), body=body)).status_code == 400


def test_expect_100_continue_is_answered_before_the_body(service: ServiceProcess, user: str) -> None:
    with connect(service.port) as connection:
        connection.send(post(user, b"Expect: 100-continue", sized(TASK), body=b""))
        assert connection.interim() == b"HTTP/1.1 100 Continue\r\n"
        connection.send(TASK)
        assert connection.answer("POST", PATH).status_code == 201


@pytest.mark.parametrize(("known", "length", "status"), [(False, 21, 401), (True, MIB + 1, 413)])
def test_expect_100_continue_is_not_answered_when_the_body_is_not_read(
    service: ServiceProcess, user: str, known: bool, length: int, status: int
) -> None:
    sent = post(user if known else "stale", b"Expect: 100-continue", b"Content-Length: %d" % length, body=b"")
    assert exchange(service.port, sent).status_code == status
