"""The frontend's calls in a real browser: what its JavaScript can read, and what other origins cannot."""

import socket
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from tests.browser.conftest import FAILURES
from tests.support.api import PASSWORD, token
from tests.support.databases import Template
from tests.support.frontend import Answer, Frontend, origin
from tests.support.service_process import ServiceProcess, start_service

Visit = Callable[..., Frontend]
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def assert_error(answer: Answer, status: int, sentence: str) -> None:
    assert (answer.status, answer.body) == (status, {"error": sentence})
    assert answer.headers["x-request-id"]


def test_a_visit_from_sign_up_to_delete(visit: Visit) -> None:
    frontend = visit()
    signed_up = frontend.enter("signup", " Ada@Example.com", PASSWORD)
    assert signed_up.status == 201
    assert signed_up.body["user"]["email"] == "ada@example.com"
    frontend.use(None)
    logged_in = frontend.enter("login", "ada@example.com", PASSWORD)
    assert (logged_in.status, logged_in.body["user"]) == (200, signed_up.body["user"])
    # The frontend reads user_id from the token's payload.
    claims = frontend.page.evaluate("JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))")
    assert claims["user_id"] == signed_up.body["user"]["id"]

    assert frontend.call("GET", "/api/tasks")[:2] == (200, {"tasks": []})
    created = frontend.call("POST", "/api/tasks", {"title": "Buy milk 🥛", "description": ""})
    assert created.status == 201
    task = created.body["task"]
    assert (task["title"], task["completed"]) == ("Buy milk 🥛", False)
    path = f"/api/tasks/{task['id']}"
    assert frontend.call("GET", path)[:2] == (200, {"task": task})

    edited = frontend.call("PUT", path, {"title": "Buy oats", "description": "two bags"})
    assert edited.status == 200
    assert (edited.body["task"]["title"], edited.body["task"]["description"]) == ("Buy oats", "two bags")
    toggled = frontend.call("PUT", path, {"completed": True})
    assert toggled[:2] == (200, {"task": {**edited.body["task"], "completed": True} | moved(toggled)})
    assert frontend.call("GET", "/api/tasks")[:2] == (200, {"tasks": [toggled.body["task"]]})

    assert frontend.call("DELETE", path)[:2] == (204, None)
    assert_error(frontend.call("GET", path), 404, "Task not found")


def test_the_page_can_repeat_a_create_and_detect_a_conflicting_change(visit: Visit) -> None:
    frontend = visit()
    assert frontend.enter("signup", "grace@example.com", PASSWORD).status == 201
    first, again = (frontend.call("POST", "/api/tasks", {"title": "Buy milk"}, Idempotency_Key="k1") for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body) == (201, first.body)
    other = frontend.call("POST", "/api/tasks", {"title": "Buy oats"}, Idempotency_Key="k1")
    assert_error(other, 422, "This Idempotency-Key was used for another task")
    tag, path = first.headers["etag"], f"/api/tasks/{first.body['task']['id']}"
    assert tag == f'"{first.body["task"]["updated_at"]}"'
    assert frontend.call("GET", path, If_None_Match=tag)[:2] == (304, None)
    changed = frontend.call("PUT", path, {"completed": True}, If_Match=tag)
    assert changed.status == 200
    stale = frontend.call("PUT", path, {"title": "Unseen"}, If_Match=tag)
    assert_error(stale, 412, "The task was changed in the meantime")
    assert stale.headers["etag"] == changed.headers["etag"]
    assert_error(frontend.call("DELETE", path, If_Match=tag), 412, "The task was changed in the meantime")
    assert frontend.call("DELETE", path, If_Match=stale.headers["etag"]).status == 204


def moved(answer: Answer) -> dict[str, str]:
    return {"updated_at": answer.body["task"]["updated_at"]}


def test_the_browser_caches_the_preflight(visit: Visit) -> None:
    frontend = visit()
    frontend.use(token(user_id=UNKNOWN))
    for _ in range(3):
        assert frontend.call("GET", "/api/tasks").status == 200
    address = f"{frontend.service}/api/tasks"
    asked = Counter(method for method, url in frontend.page.requests() if url == address)
    assert asked == {"OPTIONS": 1, "GET": 3}, "the browser caches the preflight"
    for method in ("PUT", "DELETE"):
        assert_error(frontend.call(method, f"/api/tasks/{UNKNOWN}", {}), 404, "Task not found")


def test_the_page_reads_client_errors(visit: Visit) -> None:
    frontend = visit()
    assert_error(frontend.call("GET", "/api/tasks"), 401, "Unauthorized")
    assert_error(frontend.enter("signup", "nobody", PASSWORD), 400, "Invalid email format")
    assert frontend.enter("signup", "bob@example.com", PASSWORD).status == 201
    assert_error(frontend.enter("signup", "bob@example.com", PASSWORD), 409, "Email already registered")
    assert_error(frontend.call("POST", "/api/tasks", {"title": " "}), 400, "Title is required")
    assert_error(frontend.call("GET", f"/api/tasks/{UNKNOWN}"), 404, "Task not found")
    assert_error(frontend.call("GET", "/api/nowhere"), 404, "Not found")
    too_large = frontend.call("POST", "/api/tasks", {"title": "x" * (3 << 20)})
    assert_error(too_large, 413, "The request body must not exceed 1 MiB")
    frontend.use("stale")
    assert_error(frontend.call("POST", "/api/tasks", {"title": "x"}), 401, "Unauthorized")


def test_the_page_reads_429_and_retry_after(visit: Visit) -> None:
    frontend = visit()
    for _ in range(FAILURES):
        refused = frontend.enter("login", "guessed@example.com", "a wrong password")
        assert_error(refused, 401, "Invalid email or password")
    limited = frontend.enter("login", "guessed@example.com", "a wrong password")
    assert limited.status == 429
    assert list(limited.body) == ["error"]
    assert int(limited.headers["retry-after"]) > 0


def test_the_page_reads_a_server_error(visit: Visit, template: Template, service_database: str) -> None:
    frontend = visit()
    frontend.use(token(user_id=UNKNOWN))
    with psycopg.connect(template.owner_url(service_database), autocommit=True) as owner:
        owner.execute("alter table tasks rename column title to gone")
        try:
            assert_error(frontend.call("GET", "/api/tasks"), 500, "Internal server error")
        finally:
            owner.execute("alter table tasks rename column gone to title")
    assert frontend.call("GET", "/api/tasks").status == 200


def test_the_page_reads_that_the_service_is_unavailable(visit: Visit, frontend_origin: str) -> None:
    with socket.socket() as taken:  # bound, but no process listens
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://todo:todo@127.0.0.1:{taken.getsockname()[1]}/todo"
        with start_service(url, FRONTEND_URL=frontend_origin) as away:
            frontend = visit(api=away.url)
            frontend.use(token(user_id=UNKNOWN))
            answer = frontend.call("GET", "/api/tasks")
    assert_error(answer, 503, "Service temporarily unavailable")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("asked", [True, False], ids=["preflighted", "simple"])
def test_a_page_of_another_origin_cannot_read_answers(visit: Visit, service: ServiceProcess, asked: bool) -> None:
    with origin(0) as elsewhere:
        foreign = visit(elsewhere)
        if asked:
            answer = foreign.call("GET", "/api/tasks")
            assert (answer.status, answer.body) == (0, {"error": "TypeError: Failed to fetch"})
        else:
            # Without a preflight the service answers, and the browser hides the answer from the page.
            read = "fetch({!r}).then(response => response.text(), String)".format(f"{service.url}/health")
            assert foreign.page.evaluate(read) == "TypeError: Failed to fetch"
        logged = [event["entry"]["text"] for event in foreign.page.events("Log.entryAdded")]
        assert any(elsewhere in text and "has been blocked by CORS policy" in text for text in logged)
