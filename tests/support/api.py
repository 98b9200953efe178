"""A client of the API with a method for each call. It checks every answer with tests/support/answers.py."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import jwt
import psycopg
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.app import create_app
from service.config import Settings
from tests.support.answers import check

SECRET = "a secret of the tests, which protects nothing"
ORIGIN = "http://localhost:3000"
PASSWORD = "correct horse battery"
# The headers that the browser sends with every call of the frontend.
BROWSER = {"Origin": ORIGIN, "Content-Type": "application/json"}


class User(NamedTuple):
    id: str
    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Api:
    """Each call returns the answer, after the checks for every answer."""

    def __init__(self, client: httpx.AsyncClient, owner: psycopg.Connection | None = None) -> None:
        self.client = client
        self.owner = owner

    async def request(self, method: str, path: str, user: User | None = None, **options: Any) -> httpx.Response:
        headers = {**(user.headers if user else {}), **options.pop("headers", {})}
        response = await self.client.request(method, path, headers=headers, **options)
        check(response)
        return response

    async def get(self, path: str, user: User | None = None, **options: Any) -> httpx.Response:
        return await self.request("GET", path, user, **options)

    async def sign_up(self, email: str, password: str = PASSWORD, **options: Any) -> httpx.Response:
        return await self.request("POST", "/api/auth/signup", json={"email": email, "password": password}, **options)

    async def log_in(self, email: str, password: str = PASSWORD, **options: Any) -> httpx.Response:
        return await self.request("POST", "/api/auth/login", json={"email": email, "password": password}, **options)

    async def list_tasks(self, user: User) -> httpx.Response:
        return await self.request("GET", "/api/tasks", user)

    async def create_task(self, user: User, *, key: str | None = None, **fields: Any) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.request("POST", "/api/tasks", user, headers=headers, json={"title": "Buy milk", **fields})

    async def get_task(self, user: User, task_id: str) -> httpx.Response:
        return await self.request("GET", f"/api/tasks/{task_id}", user)

    async def update_task(
        self, user: User, task_id: str, *, if_match: str | None = None, **fields: Any
    ) -> httpx.Response:
        headers = {} if if_match is None else {"If-Match": if_match}
        return await self.request("PUT", f"/api/tasks/{task_id}", user, headers=headers, json=fields)

    async def delete_task(self, user: User, task_id: str, *, if_match: str | None = None) -> httpx.Response:
        headers = {} if if_match is None else {"If-Match": if_match}
        return await self.request("DELETE", f"/api/tasks/{task_id}", user, headers=headers)

    async def task(self, user: User, **fields: Any) -> dict[str, Any]:
        """Creates a task and returns it."""
        response = await self.create_task(user, **fields)
        assert response.status_code == 201, response.text
        task: dict[str, Any] = response.json()["task"]
        return task

    def user(self) -> User:
        assert self.owner is not None
        return insert_user(self.owner)


def insert_user(owner: psycopg.Connection) -> User:
    """Inserts a user directly, because bcrypt makes a sign-up take a quarter of a second."""
    user_id = str(uuid.uuid4())
    email = f"{user_id}@example.com"
    owner.execute("insert into users (id, email, password_hash) values (%s, %s, '')", (user_id, email))
    return User(user_id, email, token(user_id=user_id, email=email))


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token as the service issues it, with these claims in addition; None removes a claim."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + 3600, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, algorithm)


def calls_with_a_body(task_id: str) -> list[tuple[str, str]]:
    """Method and path of every call with a body."""
    accounts = [("POST", "/api/auth/signup"), ("POST", "/api/auth/login")]
    return [*accounts, ("POST", "/api/tasks"), ("PUT", f"/api/tasks/{task_id}")]


def settings(database_url: str, **others: Any) -> Settings:
    """Default settings with these changes; a .env file is not read."""
    values = {"database_url": database_url, "better_auth_secret": SECRET, "frontend_url": ORIGIN, **others}
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]  # pydantic-settings takes it


@asynccontextmanager
async def serve(chosen: Settings, owner: psycopg.Connection | None = None) -> AsyncIterator[Api]:
    """Runs the service in this process, with its start and stop."""
    async with lifespan(create_app(chosen)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BROWSER) as client:
            yield Api(client, owner)


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[ASGIApp]:
    """Runs the ASGI lifespan, which httpx does not: start, the state for every request, stop."""
    state: dict[str, Any] = {}
    events: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    running = asyncio.create_task(_run(app, {"type": "lifespan", "state": state}, events, answers))
    await events.put({"type": "lifespan.startup"})
    started = await answers.get()
    assert started["type"] == "lifespan.startup.complete", started

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": state.copy()}, receive, send)

    try:
        yield with_state
    finally:
        await events.put({"type": "lifespan.shutdown"})
        await running


async def _run(app: ASGIApp, scope: Scope, events: asyncio.Queue[Message], answers: asyncio.Queue[Message]) -> None:
    await app(scope, events.get, answers.put)
