"""Raw request heads: valid HTTP gets the contract's answers; invalid HTTP is 400, and the connection is closed."""

import pytest

from tests.support.raw_http import CHUNKED, LIVEZ, MIB, assert_refused, connect, exchange, post, request
from tests.support.service_process import ServiceProcess

INVALID_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an invented method": request("BREW /livez"),
    "a method in lower case": request("get /livez"),
    "HTTP/1.2": LIVEZ.replace(b"1.1", b"1.2"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method and nothing else": b"GET\r\n\r\n",
    "CONNECT to elsewhere": request("CONNECT example.com:443"),
    "an absolute target without a path": request("GET http://todo.example.com"),
    "a target without a slash": request("GET livez"),
    "a target of 100 kB": request(f"GET /{'a' * 100_000}"),
    "UTF-8 in the target": request("GET /livéz"),
    "a null byte in the target": request("GET /liv\0ez"),
    "a null byte in a header": request("GET /livez", b"X-A: a\0b"),
    "a header over two lines": request("GET /livez", b"X-A: a", b" b"),
    "a blank before the colon": request("GET /livez", b"X-A : a"),
    "a header without a name": request("GET /livez", b": a"),
    "a thousand headers beside Host": request("GET /livez", *[b"X-A: b"] * 1000),
    "line feeds alone": LIVEZ.replace(b"\r", b""),
    "carriage returns alone": LIVEZ.replace(b"\n", b""),
}
BAD_LENGTHS = {
    "a negative length": [b"Content-Length: -1"],
    "a signed length": [b"Content-Length: +21"],
    "a hexadecimal length": [b"Content-Length: 0x15"],
    "a length beyond every integer": [b"Content-Length: 99999999999999999999999"],
    "two lengths": [b"Content-Length: 21", b"Content-Length: 2"],
    "one length twice": [b"Content-Length: 21", b"Content-Length: 21"],
    "a list of lengths": [b"Content-Length: 21, 21"],
    "a length and chunks": [b"Content-Length: 21", CHUNKED],
    "chunks and a length": [CHUNKED, b"Content-Length: 21"],
    "an unknown coding": [b"Transfer-Encoding: xchunked"],
    "chunks that are not the last coding": [b"Transfer-Encoding: chunked, identity"],
}


@pytest.mark.parametrize("sent", INVALID_HTTP.values(), ids=list(INVALID_HTTP))
def test_invalid_http_is_400_and_closes_the_connection(service: ServiceProcess, sent: bytes) -> None:
    assert_refused(service.port, sent)


@pytest.mark.parametrize("headers", BAD_LENGTHS.values(), ids=list(BAD_LENGTHS))
def test_bad_lengths_are_400_and_close_the_connection(service: ServiceProcess, user: str, headers: list[bytes]) -> None:
    assert_refused(service.port, post(user, *headers))


UNUSUAL = {
    "HTTP/1.0": (b"GET /livez HTTP/1.0\r\n\r\n", 200),
    "HTTP/0.9": (b"GET /livez\r\n\r\n", 200),
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", 200),
    "empty lines first": (b"\r\n\r\n" + LIVEZ, 200),
    "an absolute target": (request("GET http://elsewhere.example/livez"), 200),
    "a fragment": (request("GET /livez#top"), 200),
    "OPTIONS of everything": (request("OPTIONS *"), 404),
    "GET of everything": (request("GET *"), 404),
    "TRACE": (request("TRACE /livez"), 405),
    "CONNECT to a path": (request("CONNECT /livez"), 405),
    "a method of WebDAV": (request("PROPFIND /livez"), 405),
    "no UTF-8 in a header": (request("GET /livez", b"X-A: \xff\xfe"), 200),
    "no UTF-8 as a token": (request("GET /api/tasks", b"Authorization: Bearer \xff\xfe"), 401),
    "no UTF-8 as a request id": (request("GET /livez", b"X-Request-ID: \xff\xfe"), 200),
    "an expectation nobody knows": (request("GET /livez", b"Expect: 200-maybe"), 200),
    "an upgrade to HTTP/2": (request("GET /livez", b"Connection: Upgrade", b"Upgrade: h2c"), 200),
    "a websocket": (request("GET /livez", b"Connection: Upgrade", b"Upgrade: websocket"), 200),
    "60 kB of headers": (request("GET /livez", *[b"X-A: " + b"b" * 60] * 900), 200),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), UNUSUAL.values(), ids=list(UNUSUAL))
def test_unusual_requests_get_the_contracts_answers(service: ServiceProcess, sent: bytes, status: int) -> None:
    assert exchange(service.port, sent).status_code == status


IDS = [
    "%00", "a%00b", "%2e%2e", "..", ".", "%252F", "%ff%fe", "%C0%AF", "%zz", "%", "%0d%0aX-A:%20b", "%0a", "*", ";",
    "a%2Fb", "%2F", "..%2F..%2Flivez", "%7B11111111-1111-4111-8111-111111111111%7D", "a" * 10_000,
    "urn:uuid:11111111-1111-4111-8111-111111111111", "11111111111141118111111111111111",
]  # fmt: skip


@pytest.mark.parametrize("task_id", IDS, ids=range(len(IDS)))
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_invalid_id_is_404(service: ServiceProcess, user: str, method: str, task_id: str) -> None:
    headers = (b"Authorization: Bearer " + user.encode(), b"Content-Length: 2")
    with connect(service.port) as connection:
        connection.send(request(f"{method} /api/tasks/{task_id}", *headers, body=b"{}"))
        response = connection.answer(method, "/api/tasks/odd")
    # A slash in it, encoded or not, makes it another path.
    assert response.json() == {"error": "Not found" if "%2f" in task_id.lower() else "Task not found"}
    assert response.status_code == 404


FLOODS = {
    "one header": [b"X-A: ", *[b"X" * 65536] * 320],
    "many headers": [b"X-A: b\r\n" * 8192] * 320,
    "one target": [b"X" * 65536] * 320,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=list(FLOODS))
def test_an_endless_request_head_is_cut_off(service: ServiceProcess, flood: list[bytes]) -> None:
    before = service.memory()
    with connect(service.port) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.send(b"GET /" if flood[0].startswith(b"XX") else b"GET /livez HTTP/1.1\r\n")
        for piece in flood:
            connection.send(piece)
    assert service.memory() - before < 8 * MIB
