"""The steps of the model test: each sends requests and compares the answers with the model."""

import functools
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support import model
from tests.support import model_inputs as inputs
from tests.support.api import PASSWORD
from tests.support.model import Person
from tests.support.model_world import World, forge

MOST_PEOPLE = 5
STEPS_BETWEEN_SIGN_UPS = 500
# Their type overloads do not accept keyword arguments that are passed on.
untyped_rule: Any = rule
untyped_initialize: Any = initialize


def step(
    kind: Any = untyped_rule, **strategies: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule that is counted."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def counted(self: "Machine", **drawn: Any) -> None:
            self.world.steps += 1
            try:
                function(self, **drawn)
            except Exception as error:
                self.agreed = False
                self.world.differs(error)
                raise

        counted_rule: Callable[..., None] = kind(**strategies)(counted)
        return counted_rule

    return decorate


class Machine(RuleBasedStateMachine):
    """A sequence of steps. `who` selects a person and `which` a task id, each by a number modulo their count."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.agreed = True
        self.world.begin()

    def teardown(self) -> None:
        if self.agreed:
            model.agrees(self.world.people, self.world.owner)

    def _find(self, who: int, which: tuple[str, int]) -> tuple[Person, str]:
        person = self.world.person(who)
        return person, self.world.task_id(person, which)

    def _look_back(self, person: Person) -> None:
        """Compares the owner's list after most writes, not all, so that other steps may follow a write directly."""
        model.ids_are_nobody_elses(self.world.people)
        if self.world.steps % 4:
            model.listed(person, self.world.call("GET", "", person))

    @step(who=inputs.some, lies=inputs.lies)
    def list_tasks(self, who: int, lies: frozenset[str]) -> None:
        person = self.world.person(who)
        model.listed(person, self.world.call("GET", "", person, lies=lies))

    @step(who=inputs.some, which=inputs.tasks, lies=inputs.lies)
    def get_task(self, who: int, which: tuple[str, int], lies: frozenset[str]) -> None:
        person, task_id = self._find(who, which)
        model.got(person, task_id, self.world.call("GET", task_id, person, lies=lies))

    @step(who=inputs.some, sent=inputs.new_tasks, lies=inputs.lies, key=inputs.keys)
    def create_task(self, who: int, sent: dict[str, Any], lies: frozenset[str], key: str | None) -> None:
        person = self.world.person(who)
        answer = self.world.call("POST", "", person, sent, lies, {"Idempotency-Key": key})
        model.created(person, sent, answer, key)
        self._look_back(person)

    @step(who=inputs.some, text=inputs.good_titles, other=inputs.good_titles, key=inputs.keys)
    def create_with_one_key_at_once(self, who: int, text: str, other: str, key: str | None) -> None:
        person, headers = self.world.person(who), {"Idempotency-Key": key}
        sent = [{"title": text}, {"title": other}, {"title": text, "description": other}, {"title": text}]
        answers = self.world.threads.map(lambda task: self.world.call("POST", "", person, task, headers=headers), sent)
        # Any of them may be first; its task determines the other answers.
        for task, answer in sorted(zip(sent, answers, strict=True), key=lambda pair: pair[1].status_code):
            model.created(person, task, answer, key)
        self._look_back(person)

    @step(who=inputs.some, which=inputs.tasks, sent=inputs.changes, lies=inputs.lies, version=inputs.versions)
    def update_task(
        self, who: int, which: tuple[str, int], sent: dict[str, Any], lies: frozenset[str], version: str | None
    ) -> None:
        person, task_id = self._find(who, which)
        if_match = self.world.version(person, task_id, version)
        answer = self.world.call("PUT", task_id, person, sent, lies, {"If-Match": if_match})
        model.updated(person, task_id, sent, answer, if_match)
        self._look_back(person)

    @step(who=inputs.some, which=inputs.tasks, lies=inputs.lies, version=inputs.versions)
    def delete_task(self, who: int, which: tuple[str, int], lies: frozenset[str], version: str | None) -> None:
        person, task_id = self._find(who, which)
        if_match = self.world.version(person, task_id, version)
        answer = self.world.call("DELETE", task_id, person, lies=lies, headers={"If-Match": if_match})
        model.deleted(person, task_id, answer, if_match)
        self._look_back(person)

    @step(who=inputs.some, number=inputs.some, version=inputs.old_versions)
    def delete_an_old_version(self, who: int, number: int, version: str) -> None:
        """A step of its own: among the deletes of any task with any version, these are too few."""
        person, task_id = self._find(who, ("own", number))
        if_match = self.world.version(person, task_id, version)
        answer = self.world.call("DELETE", task_id, person, headers={"If-Match": if_match})
        model.deleted(person, task_id, answer, if_match)
        self._look_back(person)

    @step(who=inputs.some, which=inputs.tasks, body=inputs.malformed_bodies, new=st.booleans())
    def send_what_is_no_task(self, who: int, which: tuple[str, int], body: bytes, new: bool) -> None:
        person, task_id = self._find(who, which)
        method, task_id = ("POST", "") if new else ("PUT", task_id)
        model.refused(self.world.call(method, task_id, person, body), 400, model.ANY_SENTENCE)

    @step(who=inputs.some, which=inputs.tasks, forgery=inputs.forgeries, operation=inputs.operations)
    def forge_a_token(self, who: int, which: tuple[str, int], forgery: str, operation: str) -> None:
        person, task_id = self._find(who, which)
        authorization = forge(forgery, person, self.world.person(who + 1))
        model.refused(self.world.operate(operation, task_id, authorization), 401, "Unauthorized")

    @step(who=inputs.some, which=inputs.tasks, operation=inputs.operations)
    def use_a_token_that_has_ended(self, who: int, which: tuple[str, int], operation: str) -> None:
        _, task_id = self._find(who, which)
        model.refused(self.world.operate(operation, task_id, self.world.ended), 401, "Unauthorized")

    @step(who=inputs.some, which=inputs.tasks, operation=inputs.operations)
    def use_a_token_that_the_operator_has_ended(self, who: int, which: tuple[str, int], operation: str) -> None:
        _, task_id = self._find(who, which)
        model.refused(self.world.operate(operation, task_id, self.world.signed_out()), 401, "Unauthorized")

    @step(who=inputs.some, which=inputs.tasks)
    def delete_thrice_at_once(self, who: int, which: tuple[str, int]) -> None:
        person, task_id = self._find(who, which)
        answers = self.world.threads.map(lambda _: self.world.call("DELETE", task_id, person), range(3))
        for answer in sorted(answers, key=lambda answer: answer.status_code):
            model.deleted(person, task_id, answer)

    @step(who=inputs.some, which=inputs.tasks, text=inputs.good_titles, completed=st.booleans())
    def update_field_by_field_at_once(self, who: int, which: tuple[str, int], text: str, completed: bool) -> None:
        person, task_id = self._find(who, which)
        sent: list[dict[str, Any]] = [{"title": text}, {"completed": completed}, {"description": text}]
        answers = list(self.world.threads.map(lambda fields: self.world.call("PUT", task_id, person, fields), sent))
        task = person.tasks.get(task_id.lower())
        if task is None:
            for answer in answers:
                model.refused(answer, 404, model.NO_TASK)
            return
        assert [answer.status_code for answer in answers] == [200] * 3, [answer.text for answer in answers]
        times = {answer.json()["task"]["updated_at"] for answer in answers}
        assert len(times | {task["updated_at"]}) == 4, "each update moves updated_at forward"
        task.update(title=text.strip(), completed=completed, description=text, updated_at=max(times))
        model.got(person, task_id, self.world.call("GET", task_id, person))

    @step(who=inputs.some, which=inputs.tasks, text=inputs.good_titles)
    def change_one_version_thrice_at_once(self, who: int, which: tuple[str, int], text: str) -> None:
        person, task_id = self._find(who, which)
        headers = {"If-Match": self.world.version(person, task_id, "present")}
        sent = [{"title": f"{number} {text}"} for number in range(3)]
        answers = self.world.threads.map(
            lambda change: self.world.call("PUT", task_id, person, change, headers=headers), sent
        )
        for change, answer in sorted(zip(sent, answers, strict=True), key=lambda pair: pair[1].status_code):
            model.updated(person, task_id, change, answer, headers["If-Match"])
        self._look_back(person)

    @step(untyped_initialize, title=inputs.good_titles)
    def everybody_begins_with_a_task(self, title: str) -> None:
        """Otherwise the first lists would be empty, and could not show another user's tasks."""
        self._everybody_creates_and_lists(title)

    @step(title=inputs.good_titles)
    def everybody_creates_and_lists_at_once(self, title: str) -> None:
        self._everybody_creates_and_lists(title)

    def _everybody_creates_and_lists(self, title: str) -> None:
        people, sent = self.world.people, {"title": title}
        answers = self.world.threads.map(lambda person: self.world.call("POST", "", person, sent), people)
        for person, answer in zip(people, answers, strict=True):
            model.created(person, sent, answer)
        lists = self.world.threads.map(lambda person: self.world.call("GET", "", person), people)
        for person, answer in zip(people, lists, strict=True):
            model.listed(person, answer)

    @precondition(lambda self: sum(person.alive for person in self.world.people) > 2)
    @step(who=inputs.some)
    def remove_a_person(self, who: int) -> None:
        person = self.world.person(who)
        self.world.owner.execute("delete from users where id = %s", (person.id,))
        person.alive = False
        person.tasks.clear()

    @precondition(lambda self: len(self.world.people) < MOST_PEOPLE)
    @step()
    def join(self) -> None:
        """Mostly inserts the person directly, because bcrypt makes a sign-up take a quarter of a second."""
        if self.world.steps < self.world.next_sign_up:
            self.world.insert_person()
            return
        self.world.next_sign_up = self.world.steps + STEPS_BETWEEN_SIGN_UPS
        email = f"{uuid.uuid4()}@example.com"
        signed_up = self.world.account("signup", f" {email.upper()} ")
        user = signed_up.json()["user"]
        assert (signed_up.status_code, user["email"]) == (201, email)
        self.world.people.append(Person(user["id"], email, signed_up.json()["token"]))
        logged_in = self.world.account("login", email)
        assert (logged_in.status_code, logged_in.json()["user"]) == (200, user)
        model.refused(self.world.account("signup", email), 409, "Email already registered")
        wrong = self.world.account("login", email, PASSWORD + "!")
        assert (wrong.status_code, wrong.json()) == (401, {"error": "Invalid email or password"})
