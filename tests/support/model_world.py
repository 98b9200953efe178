"""The state of the model test: its users, the task ids that they know, and the requests to the service."""

import base64
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg

from tests.support.api import BROWSER, PASSWORD, insert_user, token
from tests.support.model import Person, tag
from tests.support.model_inputs import MALFORMED_IDS

OPERATIONS = {"list": "GET", "get": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}


class World:
    def __init__(self, url: str, owner: psycopg.Connection) -> None:
        self.http = httpx.Client(base_url=url, headers=BROWSER, timeout=30)
        self.owner = owner
        self.threads = ThreadPoolExecutor(4)
        self.steps = self.next_sign_up = 0
        self.difference = ""
        self.ended = self._use_until_it_ends()

    def begin(self) -> None:
        self.owner.execute("delete from users")
        self.people: list[Person] = []
        for _ in range(3):
            self.insert_person()

    def _use_until_it_ends(self) -> str:
        """A token that the service has accepted and that has expired since."""
        expires = int(time.time()) + 2
        authorization = f"Bearer {token(user_id=str(uuid.uuid4()), exp=expires)}"
        assert self.operate("list", "", authorization).status_code == 200
        time.sleep(expires - time.time() + 0.01)
        return authorization

    def signed_out(self) -> str:
        """A token that was ended before the service sees it for the first time: a token that it remembers stays valid
        for up to 30 seconds."""
        user_id = str(uuid.uuid4())
        self.owner.execute(
            "insert into token_cutoffs (user_id, valid_from) values (%s, now() + interval '1 minute')", (user_id,)
        )
        return f"Bearer {token(user_id=user_id)}"

    def differs(self, error: Exception) -> None:
        """Keeps the first difference, because hypothesis reports one caused by a race only as flaky."""
        self.difference = self.difference or f"the first difference after {self.steps}: {error}".replace("\n", " ")

    def close(self) -> None:
        self.http.close()
        self.threads.shutdown()

    def insert_person(self) -> None:
        self.people.append(Person(*insert_user(self.owner)))

    def person(self, who: int) -> Person:
        return self.people[who % len(self.people)]

    def task_id(self, person: Person, which: tuple[str, int]) -> str:
        kind, number = which
        if kind == "malformed":
            return MALFORMED_IDS[number % len(MALFORMED_IDS)]
        known = [seen for person in self.people for seen in person.seen] if kind == "seen" else list(person.tasks)
        if kind == "random" or not known:
            return str(uuid.UUID(int=number, version=4))
        task_id = known[number % len(known)]
        return task_id.upper() if kind == "upper" else task_id

    def account(self, call: str, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.http.post(f"/api/auth/{call}", json={"email": email, "password": password})

    def call(
        self,
        method: str,
        task_id: str,
        person: Person,
        sent: Any = None,
        lies: frozenset[str] = frozenset(),
        headers: dict[str, str | None] | None = None,
    ) -> httpx.Response:
        """`lies`: fields with another user's values or an old time, which are sent in the body and the query."""
        stranger = self.people[(self.people.index(person) + 1) % len(self.people)]
        values = {"user_id": stranger.id, "id": str(uuid.uuid4()), "owner": stranger.email, "x": [1.5, None]}
        forged = {name: values.get(name, "2001-02-03T04:05:06Z") for name in lies}
        content = json.dumps({**forged, **sent}) if isinstance(sent, dict) else sent
        chosen = {name: value for name, value in (headers or {}).items() if value is not None}
        return self._send(method, task_id, f"Bearer {person.token}", chosen, content=content, params=forged)

    def version(self, person: Person, task_id: str, which: str | None) -> str | None:
        """The value of If-Match for a change to this task."""
        task = person.tasks.get(task_id.lower())
        if which in (None, "*") or task is None:
            return which
        return {"present": tag(task), "stale": tag({"updated_at": task["created_at"]}), "never": '"never"'}[which]

    def operate(self, operation: str, task_id: str, authorization: str | None) -> httpx.Response:
        """Sends a call that would succeed with a valid token."""
        method = OPERATIONS[operation]
        content = '{"title": "stolen"}' if method in ("POST", "PUT") else None
        return self._send(
            method, "" if operation in ("list", "create") else task_id, authorization, {}, content=content
        )

    def _send(
        self, method: str, task_id: str, authorization: str | None, headers: dict[str, str], **options: Any
    ) -> httpx.Response:
        path = f"/api/tasks/{task_id}" if task_id else "/api/tasks"
        who = {} if authorization is None else {"Authorization": authorization}
        return self.http.request(method, path, headers=who | headers, **options)


def forge(kind: str, person: Person, other: Person) -> str | None:
    """A forged `Authorization` header, which must not be accepted as this person's."""
    head, payload, signature = person.token.split(".")
    claims: dict[str, Any] = {"user_id": person.id, "email": person.email}
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    foreign = token("another secret, as long as the real one is", **claims).rpartition(".")[2]
    forged = {
        "absent": None,
        "resigned": f"Bearer {head}.{payload}.{foreign}",
        "borrowed": f"Bearer {head}.{payload}.{other.token.rpartition('.')[2]}",
        "none": f"Bearer {unsigned}.{payload}.",
        "expired": f"Bearer {token(**claims, exp=int(time.time()) - 1)}",
        "cut": f"Bearer {head}.{payload}.{signature[:-2]}",
        "basic": f"Basic {person.token}",
        "empty": "Bearer",
    }
    return forged[kind]
