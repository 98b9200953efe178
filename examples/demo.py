"""`make demo`: creates a demo account with a few tasks through the API of a running service, or logs in to it."""

import http.client
import json
import sys
import urllib.error
import urllib.request
from typing import Any

EMAIL, PASSWORD = "demo@example.com", "a demo password"
TASKS = ({"title": "Try the API"}, {"title": "Buy milk", "description": "two litres"}, {"title": "Read the code tour"})


def call(method: str, url: str, body: dict[str, Any] | None = None, token: str = "") -> tuple[int, dict[str, Any]]:
    """The status and the JSON body of the answer, also of an error."""
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (the address is the person's own)
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def succeed(method: str, url: str, body: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
    status, answer = call(method, url, body, token)
    if status >= 400:
        raise SystemExit(f"{method} {url} answered {status}: {answer['error']}.")
    return answer


def main(base: str) -> None:
    account = {"email": EMAIL, "password": PASSWORD}
    status, answer = call("POST", f"{base}/api/auth/signup", account)
    if status != 201:
        answer = succeed("POST", f"{base}/api/auth/login", account)
    token = answer["token"]
    if not succeed("GET", f"{base}/api/tasks", token=token)["tasks"]:
        for task in TASKS:
            made = succeed("POST", f"{base}/api/tasks", task, token)["task"]
        succeed("PUT", f"{base}/api/tasks/{made['id']}", {"completed": True}, token)
    sys.stdout.write(
        f"{EMAIL}, password {PASSWORD!r}, token:\n{token}\n\n"
        f"curl --header 'Authorization: Bearer {token}' {base}/api/tasks\n"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1].rstrip("/"))
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        advice = "`make run` starts one, BASE names another, for example BASE=http://127.0.0.1:8001"
        raise SystemExit(f"{sys.argv[1]} is no todo service that answers ({error}): {advice}.") from None
