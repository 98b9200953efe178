"""Errors: unknown paths, wrong methods, unforeseen failures."""

import logging

import psycopg
import pytest

from service.app import ROUTES
from tests.support.answers import DOCUMENT, assert_error
from tests.support.api import Api

pytestmark = pytest.mark.anyio

UNKNOWN = (
    "/", "/api", "/api/", "/api/task", "/api/tasks/x/y", "/api/auth", "/api/auth/logout", "/api/users", "/API/tasks",
    "/api/Tasks",
    "//api/tasks", "/api//tasks", "/docs/x", "/redoc", "/favicon.ico", "/robots.txt", "/index.html", "/static/x.js",
    "/templates/x",
    "/service/app.py", "/.env", "/../.env", "/%2e%2e/.env", "/sql/schema.sql", "/%00", "/%FF", "/😀", "/metrics",
    "/admin", "/*",
    "/api/tasks%2F", "/health%20", "/openapi.yaml", "/" + "x" * 10_000, "/api/tasks;a=b",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW")


async def test_an_unknown_path_is_404_with_or_without_a_token(api: Api) -> None:
    user = api.user()
    for path in UNKNOWN:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for who in (None, user):
                response = await api.request(method, path, who)
                assert response.status_code == 404, (method, path)
                assert_error(response, 404, "Not found")
    assert_error(await api.get("/nowhere", headers={"Authorization": "Bearer stale"}), 404, "Not found")


async def test_a_trailing_slash_never_redirects(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    for route in ROUTES:
        path = route.path.replace("{id}", task_id) + "/"
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert_error(await api.request(method, path, user, json={"title": "x"}), 404, "Not found")


async def test_nothing_is_served_but_the_documented_paths(api: Api) -> None:
    assert {route.path for route in ROUTES} == set(DOCUMENT["paths"])
    assert {path for path in DOCUMENT["paths"] if not path.startswith("/api/")} == {
        "/health", "/livez", "/openapi.json", "/docs",
    }  # fmt: skip


async def test_a_wrong_method_is_405_and_allow_names_every_method_of_the_path(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    for path, item in DOCUMENT["paths"].items():
        right = {method.upper() for method in item if method != "parameters"}
        right |= {"HEAD"} if "GET" in right else set()
        for method in set(METHODS) - right:
            for who in (None, user):
                response = await api.request(method, path.replace("{id}", task_id), who, content=b"{")
                assert_error(response, 405, "Method not allowed")
                assert set(response.headers["allow"].split(", ")) - {"OPTIONS"} == right, (method, path)


async def test_head_answers_like_get_without_a_body(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    paths = [path.replace("{id}", task_id) for path, item in DOCUMENT["paths"].items() if "get" in item]
    assert len(paths) == 6
    for path in (*paths, "/api/tasks/unknown", "/nowhere"):
        for who in (None, user):
            head, get = await api.request("HEAD", path, who), await api.request("GET", path, who)
            assert head.content == b""
            assert head.status_code == get.status_code, path
            kept = [{**response.headers, "x-request-id": ""} for response in (head, get)]
            # RFC 9110, 8.6: HEAD may omit Content-Length. The task list omits it, because HEAD does not read the list.
            lengths = [headers.pop("content-length", None) for headers in kept]
            assert lengths[1] is not None
            assert lengths[0] == (None if path == "/api/tasks" and who else lengths[1]), path
            assert kept[0] == kept[1], path


async def test_an_unforeseen_error_is_500_and_its_cause_only_in_the_log(
    api: Api, owner: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    user = api.user()
    task = await api.task(user)
    owner.execute("alter table tasks rename column title to gone")
    for response in (
        await api.list_tasks(user),
        await api.get_task(user, task["id"]),
        await api.create_task(user),
        await api.update_task(user, task["id"], title="x"),
    ):
        assert_error(response, 500, "Internal server error")
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 4
    for error in errors:
        assert error.exc_info
        assert 'column "title"' in str(error.exc_info[1])
    owner.execute("alter table tasks rename column gone to title")
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}, "the service goes on"


async def test_an_unforeseen_error_in_sign_up_and_log_in_is_500(api: Api, owner: psycopg.Connection) -> None:
    owner.execute("alter table users rename to gone")
    assert_error(await api.sign_up("ada@example.com"), 500, "Internal server error")
    assert_error(await api.log_in("ada@example.com"), 500, "Internal server error")
    assert (await api.get("/health")).status_code == 200


async def test_invalid_input_is_400_and_never_422(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    for sent in ({"title": 1}, {"title": "", "description": []}, {"title": "x", "description": 1}, {"title": None}):
        assert_error(await api.create_task(user, **sent), 400)
        assert_error(await api.update_task(user, task_id, **sent), 400)
    assert_error(await api.sign_up("no address"), 400)
    operations = [item for path in DOCUMENT["paths"].values() for item in path.values() if isinstance(item, dict)]
    # The one exception of the contract: an Idempotency-Key that was used for another task.
    assert [item["operationId"] for item in operations if "422" in item["responses"]] == ["createTask"]
