"""The headers that the service sends with every answer."""

import pytest

from tests.support.answers import REQUEST_ID
from tests.support.api import ORIGIN, Api

pytestmark = pytest.mark.anyio

GOOD = ("a", "0", "7f3c", "A-b_c.D", "x" * 128, "...", "-", "_", "3f2504e0-4f89-41d3-9a0c-0305e82c3301")
BAD = (
    "",
    " ",
    "x" * 129,
    "a b",
    "a/b",
    "a,b",
    'a"b',
    "a:b",
    "<a>",
    "{a}",
    "a=b",
    "a;b",
    "é",
    "😀",
    "a\tb",
    "%41",
    "a+b",
    "'",
    "a@b",
)
CALLS = (
    ("GET", "/api/tasks"), ("POST", "/api/auth/login"), ("GET", "/nowhere"), ("PATCH", "/api/tasks"),
    ("GET", "/health"),
    ("GET", "/docs"), ("GET", "/openapi.json"), ("HEAD", "/livez"), ("DELETE", "/api/tasks/1"),
    ("OPTIONS", "/api/tasks"),
)  # fmt: skip
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}


async def test_a_valid_request_id_of_the_client_is_kept(api: Api) -> None:
    user = api.user()
    for request_id in GOOD:
        for method, path in CALLS:
            headers = {"X-Request-ID": request_id, **(PREFLIGHT if method == "OPTIONS" else {})}
            for who in (None, user):
                response = await api.request(method, path, who, headers=headers)
                assert response.headers["x-request-id"] == request_id, (method, path)


async def test_any_other_request_id_is_replaced(api: Api) -> None:
    for request_id in BAD:
        for method, path in CALLS:
            response = await api.request(method, path, headers={"X-Request-ID": request_id.encode()})
            assert REQUEST_ID.fullmatch(response.headers["x-request-id"])
            assert response.headers["x-request-id"] != request_id


async def test_requests_without_an_id_get_different_ids(api: Api, api_without_database: Api) -> None:
    ids = [
        (await each.get("/livez")).headers["x-request-id"] for each in (api, api_without_database) for _ in range(50)
    ]
    assert len(set(ids)) == 100


async def test_answers_to_requests_with_authorization_are_not_stored(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    calls = [
        *CALLS,
        ("PUT", f"/api/tasks/{task_id}"),
        ("DELETE", f"/api/tasks/{task_id}"),
        ("DELETE", f"/api/tasks/{task_id}"),
    ]
    statuses = set()
    for method, path in calls:
        for headers in (user.headers, {"Authorization": "stale"}, {"Authorization": ""}):
            response = await api.request(method, path, headers=headers)
            assert response.headers["cache-control"] == "no-store", (method, path)
            statuses.add(response.status_code)
    assert statuses >= {200, 204, 400, 401, 404, 405}


async def test_every_answer_forbids_content_type_sniffing(api: Api) -> None:
    for method, path in CALLS:
        assert (await api.request(method, path)).headers["x-content-type-options"] == "nosniff"
