"""Litestar with msgspec on asyncpg, served by Granian: structs in and out, the verified tokens cached."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import jwt
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from msgspec import UNSET, Meta, Struct, UnsetType

SECRET = os.environ["BETTER_AUTH_SECRET"]
COLUMNS = "id, title, description, completed, user_id, created_at, updated_at"

Title = Annotated[str, Meta(min_length=1, max_length=255)]
Description = Annotated[str, Meta(max_length=1000)]


class TaskCreate(Struct):
    title: Title
    description: Description | None = None


class TaskUpdate(Struct):
    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    completed: bool | UnsetType = UNSET


class Task(Struct):
    id: UUID
    title: str
    description: str | None
    completed: bool
    user_id: UUID
    created_at: datetime
    updated_at: datetime


class TaskAnswer(Struct):
    task: Task


class TaskList(Struct):
    tasks: list[Task]


@lru_cache(10_000)
def verified(token: str) -> tuple[float, UUID]:
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
    return claims["exp"], UUID(claims["user_id"])


class Bearer(AbstractAuthenticationMiddleware):
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        try:
            expires, user = verified(token)
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise NotAuthorizedException("Unauthorized", headers={"WWW-Authenticate": "Bearer"}) from None
        if scheme.lower() != "bearer" or expires <= time.time():
            raise NotAuthorizedException("Unauthorized", headers={"WWW-Authenticate": "Bearer"})
        return AuthenticationResult(user=user, auth=None)


def provide_pool(state: State) -> asyncpg.Pool:
    return state.pool  # type: ignore[no-any-return]


def provide_user(request: Request[UUID, None, State]) -> UUID:
    return request.user


def answer(row: asyncpg.Record | None) -> TaskAnswer:
    if row is None:
        raise NotFoundException("Task not found")
    return TaskAnswer(Task(*row))


@get("/api/tasks")
async def list_tasks(pool: asyncpg.Pool, user: UUID) -> TaskList:
    rows = await pool.fetch(f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id DESC", user)
    return TaskList([Task(*row) for row in rows])


@post("/api/tasks")
async def create_task(data: TaskCreate, pool: asyncpg.Pool, user: UUID) -> TaskAnswer:
    row = await pool.fetchrow(
        f"INSERT INTO tasks (id, user_id, title, description) VALUES ($1, $2, $3, $4) RETURNING {COLUMNS}",
        uuid4(),
        user,
        data.title,
        data.description,
    )
    return answer(row)


@get("/api/tasks/{task_id:uuid}")
async def get_task(task_id: UUID, pool: asyncpg.Pool, user: UUID) -> TaskAnswer:
    return answer(await pool.fetchrow(f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2", user, task_id))


@put("/api/tasks/{task_id:uuid}")
async def update_task(task_id: UUID, data: TaskUpdate, pool: asyncpg.Pool, user: UUID) -> TaskAnswer:
    row = await pool.fetchrow(
        f"""UPDATE tasks SET title = coalesce($3, title), completed = coalesce($4, completed), updated_at = now(),
                description = CASE WHEN $5 THEN $6 ELSE description END
            WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}""",
        user,
        task_id,
        None if data.title is UNSET else data.title,
        None if data.completed is UNSET else data.completed,
        data.description is not UNSET,
        None if data.description is UNSET else data.description,
    )
    return answer(row)


@delete("/api/tasks/{task_id:uuid}")
async def delete_task(task_id: UUID, pool: asyncpg.Pool, user: UUID) -> None:
    if await pool.execute("DELETE FROM tasks WHERE user_id = $1 AND id = $2", user, task_id) == "DELETE 0":
        raise NotFoundException("Task not found")


def error_answer(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    return Response({"error": error.detail}, status_code=error.status_code, headers=error.headers)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    size = int(os.environ["POOL_SIZE"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size) as pool:
        app.state.pool = pool
        yield


app = Litestar(
    [list_tasks, create_task, get_task, update_task, delete_task],
    lifespan=[lifespan],
    middleware=[DefineMiddleware(Bearer, exclude_http_methods=["OPTIONS"])],
    dependencies={
        "pool": Provide(provide_pool, sync_to_thread=False),
        "user": Provide(provide_user, sync_to_thread=False),
    },
    cors_config=CORSConfig(
        allow_origins=os.environ["FRONTEND_URL"].split(","),
        allow_methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"],
        allow_headers=["Authorization", "Content-Type"],
    ),
    exception_handlers={HTTPException: error_answer},
    openapi_config=None,
)
