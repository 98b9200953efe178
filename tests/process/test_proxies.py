"""The client address behind a proxy."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.support.service_process import ServiceProcess, start_service


def requests(service: ServiceProcess, count: int) -> list[dict[str, Any]]:
    """Waits for this many request log lines, and returns them."""
    deadline = time.monotonic() + 10
    while True:
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if '"route"' in line]
        if len(lines) == count:
            return lines
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("host", "trusted"), [("::", "127.0.0.1"), ("0.0.0.0", "127.0.0.0/8")])
def test_a_trusted_ipv4_proxy_is_recognised_on_an_ipv6_socket(database_url: str, host: str, trusted: str) -> None:
    """An IPv6 socket reports an IPv4 client as ::ffff:127.0.0.1."""
    with start_service(database_url, HOST=host, TRUSTED_PROXIES=trusted) as service:
        url = f"http://127.0.0.1:{service.port}/livez"
        httpx.get(url)
        httpx.get(url, headers={"X-Forwarded-For": "203.0.113.7"})
        assert [line["client"] for line in requests(service, 2)] == ["127.0.0.1", "203.0.113.7"]


def test_a_long_address_is_cut_off_in_the_log(database_url: str) -> None:
    with start_service(database_url, TRUSTED_PROXIES="127.0.0.1") as service:
        account = {"email": "ada@example.com", "password": "a wrong password"}
        httpx.post(f"{service.url}/api/auth/login", json=account, headers={"X-Forwarded-For": "a" * 100_000})
        requests(service, 1)
        log = service.log.read_text()
    assert "log-in refused from aaaa" in log
    assert max(map(len, log.splitlines())) < 2_000
