"""A load of 32 connections with reads and writes, which record every answer and the expected rows."""

import asyncio
import random
import ssl
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.support.answers import check
from tests.support.api import BROWSER, PASSWORD, Api, User

CONNECTIONS = 32


class Answer(NamedTuple):
    began: float
    seconds: float
    method: str
    path: str
    status: int
    """0: there was no answer."""
    token: str
    """The token of the user."""


@dataclass
class Task:
    titles: set[str]
    """The possible titles: several after a PUT without an answer."""
    there: bool | None = True
    """Whether the task exists; None after a DELETE without an answer."""


@dataclass
class Load:
    """Each connection has its own user, so it knows the state of its tasks."""

    url: str
    users: list[User]
    tls: ssl.SSLContext | None = None
    answers: list[Answer] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Descriptions of wrong answers, and in `compare` of lost or doubled rows."""
    signed_up: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    stopping: bool = False

    async def work(self, user: User) -> None:
        client = httpx.AsyncClient(
            base_url=self.url,
            headers=BROWSER | user.headers,
            timeout=30,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,
            verify=self.tls or True,
        )
        mine: dict[str, Task] = {}
        async with client:
            while not self.stopping:
                # Only one sign-up at a time, because the queue for bcrypt would answer 503.
                if user is self.users[0] and random.random() < 0.1:
                    await self._sign_up(client)
                await self._one(client, mine)

    async def _one(self, client: httpx.AsyncClient, mine: dict[str, Task]) -> None:
        """Sends one request and records the resulting state."""
        kind = random.choices(("list", "get", "create", "update", "delete"), (37, 20, 18, 15, 10))[0]
        text = str(uuid.uuid4())
        task_id = random.choice(list(mine)) if mine else ""
        path = f"/api/tasks/{task_id}"
        if kind == "list":
            answer = await self._send(client, 200, "GET", "/api/tasks")
            if answer and not set(mine) <= {task["id"] for task in answer.json()["tasks"]}:
                self.faults.append("a list lacks a task")
        elif kind == "create" or not mine:
            # The description stays the same, so that a doubled task is found.
            answer = await self._send(client, 201, "POST", "/api/tasks", {"title": text, "description": text})
            if answer:
                new = answer.json()["task"]["id"]
                self.tasks[new] = mine[new] = Task({text})
        elif kind == "get":
            answer = await self._send(client, 200, "GET", path)
            if answer and answer.json()["task"]["title"] not in mine[task_id].titles:
                self.faults.append("a task has an old title")
        elif kind == "update":
            mine[task_id].titles.add(text)
            if await self._send(client, 200, "PUT", path, {"title": text}):
                mine[task_id].titles = {text}
        else:
            task = mine.pop(task_id)
            task.there = None
            if await self._send(client, 204, "DELETE", path):
                task.there = False

    async def _sign_up(self, client: httpx.AsyncClient) -> None:
        email = f"{uuid.uuid4()}@example.com"
        if await self._send(client, 201, "POST", "/api/auth/signup", {"email": email, "password": PASSWORD}):
            self.signed_up.append(email)

    async def _send(
        self, client: httpx.AsyncClient, expected: int, method: str, path: str, body: Any = None
    ) -> httpx.Response | None:
        """The expected answer; None if it is unknown whether the request took effect."""
        began, status, response = time.monotonic(), 0, None
        try:
            response = await client.request(method, path, json=body)
            status = response.status_code
        except httpx.TransportError as error:
            self.faults.append(f"{method} {path}: {error!r}")
        self.answers.append(
            Answer(began, time.monotonic() - began, method, path, status, client.headers["authorization"].split()[1])
        )
        if response is None or status == expected:
            return response
        try:
            check(response)
        except AssertionError as error:
            self.faults.append(f"{method} {path}: {error}")
        if status != 503:
            self.faults.append(f"{method} {path}: {status} {response.text}")
        return None

    def compare(self, owner: psycopg.Connection) -> None:
        """Adds a fault for each difference between the database and the answers."""
        ids = [user.id for user in self.users]
        rows = owner.execute("select id, title, description from tasks where user_id = any(%s)", (ids,)).fetchall()
        titles = {str(row[0]): row[1] for row in rows}
        for task_id, task in self.tasks.items():
            if task.there is False and task_id in titles:
                self.faults.append(f"task {task_id} was deleted and is there")
            if task.there and titles.get(task_id) not in task.titles:
                self.faults.append(f"task {task_id} was acknowledged and is lost")
        twice = Counter(row[2] for row in rows)
        self.faults += [f"a task is there {count} times" for count in twice.values() if count > 1]
        emails = Counter(row[0] for row in owner.execute("select email from users"))
        self.faults += [f"{email} signed up, {emails[email]} rows" for email in self.signed_up if emails[email] != 1]

    def report(self, what: str) -> Counter[int]:
        """Prints the figures; returns the number of answers with each status."""
        statuses = Counter(answer.status for answer in self.answers)
        times = sorted(answer.seconds for answer in self.answers)
        slowest = max(self.answers, key=lambda answer: answer.seconds)
        span = max(answer.began for answer in self.answers) - self.answers[0].began
        print(f"\n{what}: {len(times):,} requests in {span:.1f} s, {dict(sorted(statuses.items()))},")
        median, p99 = times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000
        print(f"  {len(self.signed_up)} sign-ups, median {median:.1f} ms, p99 {p99:.0f} ms,", end=" ")
        print(f"slowest {slowest.seconds:.2f} s: {slowest.method} {slowest.path} {slowest.status}")
        for fault in self.faults[:5]:
            print(f"  FAULT: {fault}")
        return statuses


@asynccontextmanager
async def load(
    url: str, owner: psycopg.Connection, connections: int = CONNECTIONS, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Load]:
    """Runs the load until the block ends; call `compare` and `report` afterwards."""
    async with httpx.AsyncClient() as client:
        api = Api(client, owner)
        load = Load(url, [api.user() for _ in range(connections)], tls)
    workers = [asyncio.create_task(load.work(user)) for user in load.users]
    try:
        yield load
    finally:
        load.stopping = True
        await asyncio.gather(*workers)
