"""The model: the expected state in plain dictionaries, and the checks of answers against it."""

import re
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

Task = dict[str, Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STORED = "select id, title, description, completed, user_id, created_at, updated_at from tasks"
NO_TASK = "Task not found"
ANY_SENTENCE = "…"
"""For refusals whose message the contract does not give."""


@dataclass
class Person:
    """A user, the user's tasks, and whether the account exists."""

    id: str
    email: str
    token: str
    tasks: dict[str, Task] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """The ids of all tasks that the user has ever had."""
    keys: dict[str, tuple[str, Task]] = field(default_factory=dict)
    """For each Idempotency-Key, the task's id and the title and description of the first request."""
    alive: bool = True

    def repeats(self, key: str | None) -> tuple[str, Task] | None:
        """The entry of `keys`, if its task still exists."""
        used = self.keys.get(key or "")
        return used if used and used[0] in self.tasks else None

    def newest_first(self) -> list[Task]:
        return sorted(self.tasks.values(), key=lambda task: (task["created_at"], task["id"]), reverse=True)


def expected_errors(sent: dict[str, Any], new: bool) -> set[str]:
    """The contract's error messages for this body, any of which is correct; empty for a valid body."""
    found = set()
    if new or "title" in sent:
        found |= _title(sent.get("title"), "Title is required" if new else "Title cannot be empty")
    description = sent.get("description")
    if isinstance(description, str):
        if len(description) > 1000:
            found.add("Description must not exceed 1000 characters")
        if "\0" in description:
            found.add(ANY_SENTENCE)
    elif description is not None:
        found.add(ANY_SENTENCE)
    if not new and not isinstance(sent.get("completed", False), bool):
        found.add(ANY_SENTENCE)
    return found


def _title(title: object, empty: str) -> set[str]:
    if title is None:
        return {empty}
    if not isinstance(title, str) or "\0" in title:
        return {ANY_SENTENCE}
    if not title.strip():
        return {empty}
    return {"Title must not exceed 255 characters"} if len(title.strip()) > 255 else set()


def refused(answer: httpx.Response, status: int, *sentences: str) -> None:
    """Checks that the answer is this error."""
    assert answer.status_code == status, (status, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    body = answer.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    assert ANY_SENTENCE in sentences or body["error"] in sentences, (sentences, body)


def holds(answer: httpx.Response, status: int, expected: dict[str, Any]) -> None:
    assert answer.status_code == status, (status, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == expected, f"{answer.text} is not {expected}"
    assert answer.headers.get("etag") == (tag(expected["task"]) if "task" in expected else None)


def tag(task: Task) -> str:
    """The task's entity tag."""
    return f'"{task["updated_at"]}"'


def changed_meanwhile(task: Task, answer: httpx.Response) -> None:
    refused(answer, 412, "The task was changed in the meantime")
    assert answer.headers["etag"] == tag(task)


def listed(person: Person, answer: httpx.Response) -> None:
    holds(answer, 200, {"tasks": person.newest_first()})


def got(person: Person, task_id: str, answer: httpx.Response) -> None:
    task = person.tasks.get(task_id.lower())
    if task is None:
        refused(answer, 404, NO_TASK)
    else:
        holds(answer, 200, {"task": task})


def created(person: Person, sent: dict[str, Any], answer: httpx.Response, key: str | None = None) -> None:
    """Checks the answer to a POST and stores the new task in the model."""
    if wrong := expected_errors(sent, new=True):
        refused(answer, 400, *wrong)
        return
    if not person.alive:
        refused(answer, 401, "Unauthorized")
        return
    content = {"title": sent["title"].strip(), "description": sent.get("description")}
    if used := person.repeats(key):
        if used[1] == content:
            holds(answer, 201, {"task": person.tasks[used[0]]})
        else:
            refused(answer, 422, "This Idempotency-Key was used for another task")
        return
    task = answer.json().get("task", {})
    expected = {
        "id": str(uuid.UUID(task.get("id"), version=4)),
        **content,
        "completed": False,
        "user_id": person.id,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
    }
    holds(answer, 201, {"task": expected})
    assert task["id"] == person.keys[key][0] if key in person.keys else task["id"] not in person.seen
    assert TIME.fullmatch(task["created_at"]), task
    assert abs(datetime.fromisoformat(task["created_at"]).timestamp() - time.time()) < 60
    person.tasks[task["id"]] = task
    person.seen.append(task["id"])
    if key is not None:
        person.keys[key] = (task["id"], content)


def updated(
    person: Person, task_id: str, sent: dict[str, Any], answer: httpx.Response, if_match: str | None = None
) -> None:
    """Checks the answer to a PUT and changes the task in the model."""
    if wrong := expected_errors(sent, new=False):
        refused(answer, 400, *wrong)
        return
    task = person.tasks.get(task_id.lower())
    if task is None:
        refused(answer, 404, NO_TASK)
        return
    if if_match not in (None, "*", tag(task)):
        changed_meanwhile(task, answer)
        return
    changes: dict[str, Any] = {name: sent[name] for name in ("title", "description", "completed") if name in sent}
    if "title" in changes:
        changes["title"] = changes["title"].strip()
    now = answer.json().get("task", {}).get("updated_at")
    holds(answer, 200, {"task": {**task, **changes, "updated_at": now if changes else task["updated_at"]}})
    if changes:
        assert TIME.fullmatch(now)
        assert now > task["updated_at"], f"updated_at went from {task['updated_at']} to {now}"
        task.update(changes, updated_at=now)


def deleted(person: Person, task_id: str, answer: httpx.Response, if_match: str | None = None) -> None:
    task = person.tasks.get(task_id.lower())
    if task is None:
        refused(answer, 404, NO_TASK)
        return
    if if_match not in (None, "*", tag(task)):
        changed_meanwhile(task, answer)
        return
    del person.tasks[task["id"]]
    assert answer.status_code == 204, (204, answer.status_code, answer.text)
    assert answer.content == b""
    assert "content-type" not in answer.headers


def ids_are_nobody_elses(people: list[Person]) -> None:
    owners = [(task_id, person.id) for person in people for task_id in set(person.seen)]
    assert len({task_id for task_id, _ in owners}) == len(owners), f"two people have tasks of one id: {owners}"


def agrees(people: list[Person], owner: psycopg.Connection) -> None:
    """Checks that the database has the rows of the model and no others."""
    alive = [person for person in people if person.alive]
    users = owner.execute("select id::text, email from users").fetchall()
    assert sorted(users) == sorted((person.id, person.email) for person in alive)
    rows = owner.execute(STORED)
    names = [column.name for column in rows.description or ()]
    stored = [{name: _wire(value) for name, value in zip(names, row, strict=True)} for row in rows]
    expected = [task for person in alive for task in person.tasks.values()]
    differing = [task for task in stored + expected if (task in stored) != (task in expected)]
    assert not differing, f"the database and the model differ in {differing}"


def _wire(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value if isinstance(value, bool | None) else str(value)
