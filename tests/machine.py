"""The operations of the model test: each does something over HTTP and compares the answer with the model's."""

import base64
import functools
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests import model
from tests.api import BROWSER, PASSWORD, token
from tests.model import Person

MALFORMED_IDS = (
    "1", "null", "not-a-uuid", "%00", "%F0%9F%8D%8E", "'%20or%201=1--", "00000000-0000-4000-8000-00000000000g",
    "{00000000-0000-4000-8000-000000000000}", "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000000040008000000000000000", "00000000-0000-4000-8000-000000000000%20", "..;", "*", "9" * 300,
)  # fmt: skip
MALFORMED_BODIES = (
    b"", b"{", b"[]", b'"title"', b"null", b"1", b"{'title': 1}", b'{"title": "a", "x": NaN}', b'{"title": "\xff"}',
    b'{"title": "\\ud800"}', b'{"title": "a", "description": "\\udfff"}', b'{"title": "a", "completed": Infinity}',
    b'{"title": "a",}', b'{"title": "a"} x', b"[" * 5000,
)  # fmt: skip
TEXTS = ("Buy milk", "a", "  padded\u3000", "🍎", "אבג ‮x", "'; drop table tasks; --", "<b>&amp;</b>", 'q"\\/\b\n')
LONG = ("x" * 255, "🍎" * 255, " " + "y" * 255 + "\n", "z" * 256, "🍎" * 256)
NO_TITLE = (None, "", " \t\u2003", "\0", "a\0b", 1, True, ["a"], {"a": 1})
NO_BOOLEAN: tuple[object, ...] = (None, 0, 1, "true", [], {})

titles = st.sampled_from(TEXTS * 3 + LONG + NO_TITLE) | st.text(min_size=1, max_size=9)
descriptions = st.sampled_from((*TEXTS, None, None, "", "d" * 1000, "🍎" * 1000, "d" * 1001, "\0", 1, False, ["a"]))
completions = st.sampled_from((True, False) * 4 + NO_BOOLEAN)
some = st.integers(0, 11)
forged_names = st.sets(st.sampled_from(("user_id", "id", "created_at", "updated_at", "owner", "x")), max_size=3)
task_ids = st.tuples(st.sampled_from(("own", "own", "own", "seen", "seen", "upper", "random", "malformed")), some)
operations = st.sampled_from(("list", "get", "create", "update", "delete"))
forgeries = st.sampled_from(("absent", "resigned", "borrowed", "none", "expired", "cut", "basic", "empty"))


class World:
    """What outlives one sequence of steps: the service, the owner's connection, the count, tokens that were cached."""

    def __init__(self, url: str, owner: psycopg.Connection) -> None:
        self.http = httpx.Client(base_url=url, headers=BROWSER, timeout=30)
        self.owner = owner
        self.threads = ThreadPoolExecutor(4)
        self.steps = 0
        self.short_lived: list[tuple[float, str]] = []

    def close(self) -> None:
        self.http.close()
        self.threads.shutdown()


def step(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule of hypothesis that is counted."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def counted(self: "Machine", **drawn: Any) -> None:
            self.world.steps += 1
            function(self, **drawn)

        return rule(**strategies)(counted)

    return decorate


class Machine(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.people: list[Person] = []
        self.ids: list[str] = []
        self.world.owner.execute("delete from users")
        for _ in range(3):
            self._insert_person()

    @step(who=some, forged=forged_names)
    def list_tasks(self, who: int, forged: set[str]) -> None:
        person = self._person(who)
        model.listed(person, self._call("GET", "", person, forged=forged))

    @step(who=some, which=task_ids, forged=forged_names)
    def get_task(self, who: int, which: tuple[str, int], forged: set[str]) -> None:
        person = self._person(who)
        task_id = self._task_id(person, which)
        model.got(person, task_id, self._call("GET", task_id, person, forged=forged))

    @step(
        who=some,
        fields=st.fixed_dictionaries(
            {"title": titles}, optional={"description": descriptions, "completed": completions}
        ),
        forged=forged_names,
    )
    def create_task(self, who: int, fields: dict[str, Any], forged: set[str]) -> None:
        person = self._person(who)
        model.created(person, fields, self._call("POST", "", person, fields, forged))
        self.ids += [task_id for task_id in person.tasks if task_id not in self.ids]

    @step(
        who=some,
        which=task_ids,
        fields=st.fixed_dictionaries(
            {}, optional={"title": titles, "description": descriptions, "completed": completions}
        ),
        forged=forged_names,
    )
    def update_task(self, who: int, which: tuple[str, int], fields: dict[str, Any], forged: set[str]) -> None:
        person = self._person(who)
        task_id = self._task_id(person, which)
        model.updated(person, task_id, fields, self._call("PUT", task_id, person, fields, forged))

    @step(who=some, which=task_ids, forged=forged_names)
    def delete_task(self, who: int, which: tuple[str, int], forged: set[str]) -> None:
        person = self._person(who)
        task_id = self._task_id(person, which)
        model.deleted(person, task_id, self._call("DELETE", task_id, person, forged=forged))

    @step(who=some, which=task_ids, body=st.sampled_from(MALFORMED_BODIES), new=st.booleans())
    def send_what_is_no_task(self, who: int, which: tuple[str, int], body: bytes, new: bool) -> None:
        person = self._person(who)
        method, task_id = ("POST", "") if new else ("PUT", self._task_id(person, which))
        model.refused(self._call(method, task_id, person, content=body), 400, model.ANY_SENTENCE)

    @step(who=some, which=task_ids, forgery=forgeries, operation=operations)
    def forge_a_token(self, who: int, which: tuple[str, int], forgery: str, operation: str) -> None:
        person = self._person(who)
        authorization = self._forge(forgery, person, self._person(who + 1))
        answer = self._operate(operation, self._task_id(person, which), authorization)
        model.refused(answer, 401, "Unauthorized")

    @step(who=some)
    def use_a_token_of_one_second(self, who: int) -> None:
        person = self._person(who)
        expires = int(time.time()) + 2
        short = f"Bearer {token(user_id=person.id, email=person.email, exp=expires)}"
        answer = self._operate("list", "", short)
        if time.time() < expires:
            model.listed(person, answer)
            self.world.short_lived.append((expires, short))

    @step(who=some, which=task_ids, operation=operations)
    def use_a_token_that_was_good(self, who: int, which: tuple[str, int], operation: str) -> None:
        expired = [short for expires, short in self.world.short_lived if expires < time.time()]
        if expired:
            task_id = self._task_id(self._person(who), which)
            model.refused(self._operate(operation, task_id, expired[-1]), 401, "Unauthorized")

    @step(who=some, which=task_ids)
    def delete_thrice_at_once(self, who: int, which: tuple[str, int]) -> None:
        person = self._person(who)
        task_id = self._task_id(person, which)
        answers = self.world.threads.map(lambda _: self._call("DELETE", task_id, person), range(3))
        for answer in sorted(answers, key=lambda answer: answer.status_code):
            model.deleted(person, task_id, answer)

    @step(who=some, which=task_ids, title=st.sampled_from(TEXTS), completed=st.booleans())
    def update_field_by_field_at_once(self, who: int, which: tuple[str, int], title: str, completed: bool) -> None:
        person = self._person(who)
        task_id = self._task_id(person, which)
        fields: list[dict[str, Any]] = [{"title": title}, {"completed": completed}, {"description": title}]
        answers = list(self.world.threads.map(lambda sent: self._call("PUT", task_id, person, sent), fields))
        task = person.tasks.get(task_id.lower())
        if task is None:
            for answer in answers:
                model.refused(answer, 404, model.NO_TASK)
            return
        newest = max(answer.json()["task"]["updated_at"] for answer in answers)
        assert len({task["updated_at"], *(answer.json()["task"]["updated_at"] for answer in answers)}) == 4
        task.update(title=title.strip(), completed=completed, description=title, updated_at=newest)
        model.got(person, task_id, self._call("GET", task_id, person))

    @step(fields=st.fixed_dictionaries({"title": st.sampled_from(TEXTS)}))
    def everybody_creates_and_lists_at_once(self, fields: dict[str, Any]) -> None:
        answers = self.world.threads.map(lambda person: self._call("POST", "", person, fields), self.people)
        for person, answer in zip(self.people, answers, strict=True):
            model.created(person, fields, answer)
        lists = self.world.threads.map(lambda person: self._call("GET", "", person), self.people)
        for person, answer in zip(self.people, lists, strict=True):
            model.listed(person, answer)

    @precondition(lambda self: sum(person.alive for person in self.people) > 2)
    @step(who=some)
    def remove_a_person(self, who: int) -> None:
        person = self._person(who)
        self.world.owner.execute("delete from users where id = %s", (person.id,))
        person.alive = False
        person.tasks.clear()

    @precondition(lambda self: len(self.people) < 6)
    @step(rare=st.integers(0, 9), who=some)
    def join(self, rare: int, who: int) -> None:
        """Mostly by the owner's hand, because bcrypt takes a quarter of a second."""
        if rare != 7:
            self._insert_person()
            return
        email = f"{uuid.uuid4()}@example.com"
        account = self._account("signup", 201, f" {email.upper()} ")
        assert account["user"]["email"] == email
        self.people.append(Person(account["user"]["id"], email, account["token"], PASSWORD))
        assert self._account("login", 200, email)["user"] == account["user"]
        taken = self.world.http.post("/api/auth/signup", json={"email": self._person(who).email, "password": PASSWORD})
        if self._person(who).alive:
            model.refused(taken, 409, "Email already registered")
        else:
            self.people.append(Person(taken.json()["user"]["id"], self._person(who).email, taken.json()["token"]))
        wrong = self.world.http.post("/api/auth/login", json={"email": email, "password": PASSWORD + "!"})
        assert (wrong.status_code, wrong.json()) == (401, {"error": "Invalid email or password"})

    def teardown(self) -> None:
        model.agrees(self.people, self.world.owner)

    def _account(self, call: str, status: int, email: str) -> dict[str, Any]:
        answer = self.world.http.post(f"/api/auth/{call}", json={"email": email, "password": PASSWORD})
        assert answer.status_code == status, answer.text
        account: dict[str, Any] = answer.json()
        return account

    def _insert_person(self) -> None:
        user_id = str(uuid.uuid4())
        email = f"{user_id}@example.com"
        values = (user_id, email)
        self.world.owner.execute("insert into users (id, email, password_hash) values (%s, %s, '')", values)
        self.people.append(Person(user_id, email, token(user_id=user_id, email=email)))

    def _person(self, who: int) -> Person:
        return self.people[who % len(self.people)]

    def _task_id(self, person: Person, which: tuple[str, int]) -> str:
        kind, number = which
        if kind == "malformed":
            return MALFORMED_IDS[number % len(MALFORMED_IDS)]
        known = self.ids if kind == "seen" else list(person.tasks)
        if kind == "random" or not known:
            return str(uuid.UUID(int=number, version=4))
        task_id = known[number % len(known)]
        return task_id.upper() if kind == "upper" else task_id

    def _call(
        self,
        method: str,
        task_id: str,
        person: Person,
        fields: dict[str, Any] | None = None,
        forged: set[str] | None = None,
        **given: Any,
    ) -> httpx.Response:
        """Says in body and query that it is somebody else's, where `forged` asks for that."""
        stranger = self.people[(self.people.index(person) + 1) % len(self.people)]
        values = {"user_id": stranger.id, "id": str(uuid.uuid4()), "owner": stranger.email, "x": [1.5, None]}
        lies = {name: values.get(name, "2001-02-03T04:05:06Z") for name in forged or ()}
        if fields is not None:
            given["content"] = json.dumps({**lies, **fields})
        if lies:
            given["params"] = lies
        path = f"/api/tasks/{task_id}" if task_id else "/api/tasks"
        return self.world.http.request(method, path, headers={"Authorization": f"Bearer {person.token}"}, **given)

    def _operate(self, operation: str, task_id: str, authorization: str | None) -> httpx.Response:
        """A call that would succeed with the right token."""
        method = {"list": "GET", "get": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}[operation]
        path = "/api/tasks" if operation in ("list", "create") else f"/api/tasks/{task_id}"
        headers = {} if authorization is None else {"Authorization": authorization}
        content = '{"title": "stolen"}' if method in ("POST", "PUT") else None
        return self.world.http.request(method, path, headers=headers, content=content)

    def _forge(self, kind: str, person: Person, other: Person) -> str | None:
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
