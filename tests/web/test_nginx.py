"""The service behind nginx with the configuration in deploy/."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.answers import assert_error, check
from tests.support.api import BROWSER, PASSWORD, User, insert_user
from tests.support.databases import Template
from tests.support.nginx import Nginx, nginx
from tests.support.service_process import ServiceProcess, start_service

MIB = 1024 * 1024
# Headers that nginx and the service each set themselves, or that differ from answer to answer.
OWN = {"date", "server", "connection", "x-request-id"}


class Site(NamedTuple):
    proxy: Nginx
    service: ServiceProcess
    user: User


@pytest.fixture(scope="module")
def site(template: Template) -> Iterator[Site]:
    with template.copy() as name:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            user = insert_user(owner)
        proxies = {"TRUSTED_PROXIES": "127.0.0.1", "LOGIN_FAILURE_LIMIT": "3"}
        with start_service(template.service_url(name), **proxies) as service, nginx(service.port) as proxy:
            yield Site(proxy, service, user)


def wait_for_log(service: ServiceProcess, request_id: str) -> dict[str, object]:
    """The service's log line of this request. The service writes its lines in batches, so this may take a while."""
    for _ in range(200):
        for line in service.log.read_text().splitlines():
            if request_id in line and (found := json.loads(line))["id"] == request_id:
                return dict(found)
        httpx.get(f"{service.url}/livez")
    raise AssertionError(f"{request_id} was not logged")


def test_a_task_is_created_changed_and_deleted_through_nginx(site: Site) -> None:
    with site.proxy.client(**site.user.headers) as page:
        created = page.post("/api/tasks", json={"title": "Buy milk 🥛"})
        path = f"/api/tasks/{created.json()['task']['id']}"
        answers = [created, page.get(path), page.head(path), page.put(path, json={"completed": True})]
        answers += [page.get("/api/tasks"), page.delete(path), page.get(path)]
    for answer in answers:
        check(answer)
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 204, 404]
    assert answers[1].json()["task"]["title"] == "Buy milk 🥛"
    assert (answers[2].content, answers[2].headers["content-length"]) == (b"", answers[1].headers["content-length"])


def test_accounts_work_through_nginx(site: Site) -> None:
    account = {"email": "eve@example.com", "password": PASSWORD}
    with site.proxy.client() as page:
        for path, status in {"/api/auth/signup": 201, "/api/auth/login": 200}.items():
            answer = page.post(path, json=account)
            check(answer)
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", "/api/tasks", {}, b""), ("GET", "/unknown", {}, b""), ("GET", "/api/tasks/", {}, b""),
        ("GET", "//api//tasks", {}, b""), ("GET", "/docs", {}, b""), ("GET", "/openapi.json", {}, b""),
        ("HEAD", "/openapi.json", {}, b""), ("HEAD", "/unknown", {}, b""), ("GET", "/health", {}, b""),
        ("PATCH", "/api/tasks", {}, b"{}"), ("TRACE", "/api/tasks", {}, b""), ("OPTIONS", "/api/tasks", {}, b""),
        ("GET", "/proxy/bad-request", {}, b""), ("GET", "/proxy/too-long", {}, b""),
        ("GET", "/api/../livez", {}, b""), ("GET", "/%6Civez?next=%0d%0a", {}, b""),
        ("POST", "/api/auth/login", {}, b"{"), ("POST", "/api/auth/login", {}, b"x" * (MIB + 1)),
        ("OPTIONS", "/api/tasks", {"Access-Control-Request-Method": "PUT"}, b""),
        ("OPTIONS", "/api/tasks", {"Access-Control-Request-Method": "PUT", "Origin": "https://evil.example"}, b""),
    ],
)  # fmt: skip
def test_answers_of_the_service_pass_through_nginx_unchanged(
    site: Site, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    headers = {"Accept-Encoding": "identity", **headers}
    with httpx.Client(base_url=site.service.url, headers=BROWSER, timeout=30) as direct, site.proxy.client() as page:
        expected, answer = (each.request(method, path, content=body, headers=headers) for each in (direct, page))
    assert (answer.status_code, answer.content) == (expected.status_code, expected.content)
    for response in (answer, expected):
        for name in OWN & set(response.headers):
            del response.headers[name]
    # nginx adds Vary: Accept-Encoding to the answers that it may compress.
    answer.headers["vary"] = answer.headers["vary"].removeprefix("Accept-Encoding, ")
    assert dict(answer.headers) == dict(expected.headers)


def test_lists_are_compressed_and_single_tasks_are_not(site: Site) -> None:
    """gzip would make the ETag of a task weak, and a weak ETag never matches `If-Match`."""
    largest = {"title": "\x01" * 255, "description": "\x01" * 1000}
    with site.proxy.client(**site.user.headers) as page, httpx.Client(headers=site.user.headers) as direct:
        created = [page.post("/api/tasks", json=largest) for _ in range(2)]
        paths = [f"/api/tasks/{answer.json()['task']['id']}" for answer in created]
        singles = [*created, *(page.get(path) for path in paths), page.put(paths[0], json=largest)]
        listed, plain = page.get("/api/tasks"), direct.get(f"{site.service.url}/api/tasks")
        for path in paths:
            page.delete(path)
    for answer in singles:
        assert len(answer.content) > 7_000
        assert "content-encoding" not in answer.headers
        assert not answer.headers.get("etag", "").startswith("W/")
    assert listed.headers["content-encoding"] == "gzip"
    assert listed.content == plain.content
    assert set(listed.headers["vary"].split(", ")) == {"Accept-Encoding", "Origin"}


def test_nginx_limits_sign_ups_and_log_ins_for_each_address(site: Site) -> None:
    """nginx allows 50 sign-ups and log-ins ahead of 5 a second; the bodies are refused before a password is hashed."""

    def log_ins(address: str, count: int) -> list[httpx.Response]:
        with site.proxy.client(address) as page:
            return [page.post("/api/auth/login", content=b"{") for _ in range(count)]

    answers = log_ins("127.0.0.10", 80)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {400, 429}
    assert 0 < len(refused) < 80 - 50
    for answer in refused:
        check(answer)
        assert_error(answer, 429, "Too many requests, try again in 2 seconds")
        assert answer.headers["retry-after"] == "2"
    assert {answer.status_code for answer in log_ins("127.0.0.11", 10)} == {400}
    with site.proxy.client("127.0.0.10") as page:
        assert page.get("/livez").status_code == 200


def test_an_answer_larger_than_nginxs_buffers_is_complete(site: Site) -> None:
    with site.proxy.client(**site.user.headers) as page:
        for _ in range(150):
            assert page.post("/api/tasks", json={"title": "Buy milk", "description": "𝛑" * 1000}).status_code == 201
        tasks = page.get("/api/tasks").json()["tasks"]
        assert [task["description"] for task in tasks] == ["𝛑" * 1000] * 150
        for task in tasks:
            assert page.delete(f"/api/tasks/{task['id']}").status_code == 204


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [MIB - 1000, MIB + 1, MIB + 4096, 3 * MIB])
def test_nginx_passes_bodies_up_to_one_mib(site: Site, size: int, chunked: bool) -> None:
    pieces = [b"x" * min(65536, size - sent) for sent in range(0, size, 65536)]
    with site.proxy.client(**site.user.headers) as page:
        answer = page.post("/api/tasks", content=iter(pieces) if chunked else b"".join(pieces))
    too_large = size > MIB
    assert_error(
        answer,
        413 if too_large else 400,
        "The request body must not exceed 1 MiB" if too_large else "The request body must be valid JSON",
    )


def test_a_503_of_the_service_passes_through_nginx(template: Template) -> None:
    with (
        nginx(1) as away,
        start_service("postgresql://todo:todo@127.0.0.1:1/todo") as service,
        nginx(service.port) as proxy,
    ):
        for name, page in (("service", proxy.client()), ("proxy", away.client())):
            with page:
                answer = page.post("/api/auth/login", json={"email": "ada@example.com", "password": PASSWORD})
                assert_error(answer, 503, "Service temporarily unavailable")
                assert answer.headers["retry-after"] == "2", name


@pytest.mark.parametrize("given", ["abc-1.2_3", "", "x" * 129, "a b", 'a"b'])
def test_one_request_id_in_the_answer_and_in_both_logs(site: Site, given: str) -> None:
    with site.proxy.client(**{"X-Request-ID": given}) as page:
        answers = [page.get("/livez"), page.get("/api/tasks"), page.get("/unknown")]
    for answer in answers:
        check(answer)
        request_id = answer.headers["x-request-id"]
        assert (request_id == given) == (given == "abc-1.2_3")
        site.proxy.wait_for_request(request_id)
        wait_for_log(site.service, request_id)


def test_clients_cannot_forge_their_address(site: Site) -> None:
    """Here, an address is limited after three failures; the proxy's own address never is."""
    wrong = {"email": "eva@example.com", "password": "a wrong password"}
    with site.proxy.client("127.0.0.2", **{"X-Forwarded-For": "192.0.2.1"}) as page:
        for number in range(3):
            assert_error(
                page.post("/api/auth/login", json=wrong, headers={"X-Forwarded-For": f"192.0.2.{number}"}), 401
            )
        answer = page.post("/api/auth/login", json=wrong)
        assert_error(answer, 429)
    assert wait_for_log(site.service, answer.headers["x-request-id"])["client"] == "127.0.0.2"
    with site.proxy.client("127.0.0.3") as page:
        assert_error(page.post("/api/auth/login", json=wrong), 401)


def peers(service: ServiceProcess) -> set[int]:
    """The client ports of the connections to the service."""
    connections = psutil.Process(service.pid).net_connections("tcp")
    return {each.raddr.port for each in connections if each.laddr.port == service.port and each.raddr}


def test_nginx_reuses_its_connections_to_the_service(site: Site) -> None:
    before = peers(site.service)
    with nginx(site.service.port) as proxy, proxy.client() as page:
        for _ in range(50):
            assert page.get("/livez").status_code == 200
        # Without keep-alive no connection would be left; without reuse there would be 50.
        assert len(peers(site.service) - before) == 1


def test_expect_100_continue_works_through_nginx(site: Site) -> None:
    body = b'{"title": "Buy milk"}'
    head = ["POST /api/tasks HTTP/1.1", "Host: todo.example.com", f"Authorization: Bearer {site.user.token}"]
    head += [f"Content-Length: {len(body)}", "Expect: 100-continue", "", ""]
    with (
        socket.create_connection(("127.0.0.1", site.proxy.port), timeout=10) as plain,
        site.proxy.tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall("\r\n".join(head).encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")


def test_many_requests_at_once_pass_through_nginx(site: Site) -> None:
    def some(_: int) -> None:
        with site.proxy.client(**site.user.headers) as page:
            for _ in range(10):
                check(created := page.post("/api/tasks", json={"title": "Buy milk"}))
                assert page.delete(f"/api/tasks/{created.json()['task']['id']}").status_code == 204

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(some, range(20)))
