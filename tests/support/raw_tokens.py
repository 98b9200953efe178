"""Requests with a raw Authorization header, and the expected 401."""

import re
import socket

from tests.support.service_process import ServiceProcess

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


def ask(
    service: ServiceProcess, values: list[bytes], request: bytes = b"GET /api/tasks"
) -> tuple[bytes, set[bytes], bytes]:
    """Status line, headers and body, as raw bytes."""
    lines = [request + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    lines += [b"Authorization: " + value for value in values]
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status, {header for header in headers if not NOT_COMPARED.match(header)}, body
