"""CORS: preflights, and the headers that let the frontend read an answer."""

import pytest

from service.app import ROUTES
from tests.support.answers import assert_error
from tests.support.api import ORIGIN, Api, serve, settings

pytestmark = pytest.mark.anyio

METHODS = {"GET", "POST", "PUT", "DELETE", "OPTIONS"}
HEADERS = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"}
OTHERS = (
    "http://localhost:3001", "http://localhost", "https://localhost:3000", "http://localhost:30000",
    "http://localhost:3000.evil.com",
    "http://evil.com", "http://evil.localhost:3000", "http://127.0.0.1:3000", "null", "*", "", "http://localhost:3000/",
    "HTTP://LOCALHOST:3000", "http://localhost:3000,http://evil.com", "http://localhost:3000 http://evil.com",
    "file://",
)  # fmt: skip


def asks(
    method: str = "GET", headers: str | None = "authorization,content-type", origin: str = ORIGIN
) -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked if headers is None else {**asked, "Access-Control-Request-Headers": headers}


async def test_every_call_of_the_frontend_passes_its_preflight(api: Api) -> None:
    for path in [route.path.replace("{id}", "1") for route in ROUTES] + ["/nowhere"]:
        for method in METHODS:
            for headers in (",".join(HEADERS), "Content-Type, Authorization", "content-type", "", None):
                response = await api.request("OPTIONS", path, headers=asks(method, headers))
                assert response.status_code in (200, 204)
                assert response.content == b""
                assert set(response.headers["access-control-allow-methods"].split(", ")) == METHODS
                allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
                assert allowed == HEADERS
                assert int(response.headers["access-control-max-age"]) >= 600


async def test_a_preflight_from_elsewhere_is_refused_in_json_without_cors_headers(api: Api) -> None:
    for origin in OTHERS:
        response = await api.request("OPTIONS", "/api/tasks", headers=asks(origin=origin))
        assert_error(response, 400)
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_preflight_for_another_method_or_header_is_refused_in_json(api: Api) -> None:
    refused = [asks(method) for method in ("PATCH", "TRACE", "BREW", "get", "", "*", "GET, POST")]
    refused += [asks(headers=each) for each in ("x-custom", "authorization,x-custom", "*", "cookie", "x-user-id", "é")]
    for headers in refused:
        raw = {name: value.encode() for name, value in headers.items()}
        response = await api.request("OPTIONS", "/api/tasks", headers=raw)
        assert_error(response, 400)
        assert "access-control-allow-methods" not in response.headers


async def test_options_without_preflight_headers_is_405(api: Api) -> None:
    assert_error(await api.request("OPTIONS", "/api/tasks"), 405, "Method not allowed")
    del api.client.headers["origin"]
    asked = {"Access-Control-Request-Method": "GET"}
    assert_error(await api.request("OPTIONS", "/api/tasks", headers=asked), 405, "Method not allowed")


async def test_an_answer_to_another_origin_or_to_none_carries_no_cors_headers(api: Api) -> None:
    user = api.user()
    for origin in OTHERS:
        response = await api.get("/api/tasks", user, headers={"Origin": origin})
        assert response.status_code == 200
        assert not [name for name in response.headers if name.startswith("access-control-")], origin
        assert response.headers["vary"] == "Origin"
    del api.client.headers["origin"]
    response = await api.get("/api/tasks", user)
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert response.headers["vary"] == "Origin"


async def test_each_of_several_origins_is_allowed(database_url: str) -> None:
    several = "https://todo.example.com, http://localhost:3000,http://127.0.0.1:3000"
    async with serve(settings(database_url, frontend_url=several)) as api:
        for origin in several.replace(" ", "").split(","):
            for method, headers in (("OPTIONS", asks(origin=origin)), ("GET", {"Origin": origin})):
                response = await api.client.request(method, "/api/tasks", headers=headers)
                assert response.headers["access-control-allow-origin"] == origin
        for origin in ("https://example.com", "https://todo.example.com:8443", several):
            response = await api.client.get("/api/tasks", headers={"Origin": origin})
            assert "access-control-allow-origin" not in response.headers


async def test_the_frontend_may_read_the_headers_of_an_error(api: Api) -> None:
    """The expected headers in words; `check` in tests/support/answers.py tests every answer, errors included."""
    for response in (
        await api.get("/api/tasks"),
        await api.get("/nowhere"),
        await api.request("PATCH", "/api/tasks"),
        await api.request("POST", "/api/auth/login", content=b"x" * 2_000_000),
        await api.request("POST", "/api/auth/login", content=b"{"),
    ):
        assert response.is_error
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After, Allow, ETag"


async def test_a_preflight_needs_neither_a_token_nor_the_database(api_without_database: Api) -> None:
    assert (await api_without_database.request("OPTIONS", "/api/tasks", headers=asks("POST"))).status_code in (200, 204)
