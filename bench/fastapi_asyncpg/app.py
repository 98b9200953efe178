"""Current FastAPI on asyncpg: async endpoints, one pool per process, pydantic models in and out."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

SECRET = os.environ["BETTER_AUTH_SECRET"]
COLUMNS = "id, title, description, completed, user_id, created_at, updated_at"


class TaskCreate(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=255)]
    description: Annotated[str | None, Field(max_length=1000)] = None


class TaskUpdate(BaseModel):
    title: Annotated[str | None, Field(min_length=1, max_length=255)] = None
    description: Annotated[str | None, Field(max_length=1000)] = None
    completed: bool | None = None


class Task(BaseModel):
    id: UUID
    title: str
    description: str | None
    completed: bool
    user_id: UUID
    created_at: datetime
    updated_at: datetime


class TaskAnswer(BaseModel):
    task: Task


class TaskList(BaseModel):
    tasks: list[Task]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, asyncpg.Pool]]:
    size = int(os.environ["POOL_SIZE"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size) as pool:
        yield {"pool": pool}


def get_pool(request: Request) -> asyncpg.Pool:
    return request.state.pool


async def current_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> UUID:
    try:
        if credentials is None:
            raise jwt.InvalidTokenError
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
        return UUID(claims["user_id"])
    except (jwt.InvalidTokenError, KeyError, ValueError):
        raise HTTPException(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"}) from None


PoolDep = Annotated[asyncpg.Pool, Depends(get_pool)]
UserDep = Annotated[UUID, Depends(current_user)]

app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=os.environ["FRONTEND_URL"].split(","),
    allow_methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    allow_headers=["Authorization", "Content-Type"],
)


@app.exception_handler(HTTPException)
async def http_error(request: Request, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"error": error.errors()[0]["msg"]}, 400)


def answer(row: asyncpg.Record | None) -> TaskAnswer:
    if row is None:
        raise HTTPException(404, "Task not found")
    return TaskAnswer(task=Task(**row))


@app.get("/api/tasks")
async def list_tasks(pool: PoolDep, user_id: UserDep) -> TaskList:
    rows = await pool.fetch(
        f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id DESC", user_id
    )
    return TaskList(tasks=[Task(**row) for row in rows])


@app.post("/api/tasks", status_code=201)
async def create_task(body: TaskCreate, pool: PoolDep, user_id: UserDep) -> TaskAnswer:
    row = await pool.fetchrow(
        f"INSERT INTO tasks (id, user_id, title, description) VALUES ($1, $2, $3, $4) RETURNING {COLUMNS}",
        uuid4(),
        user_id,
        body.title,
        body.description,
    )
    return answer(row)


@app.get("/api/tasks/{task_id}")
async def get_task(task_id: UUID, pool: PoolDep, user_id: UserDep) -> TaskAnswer:
    return answer(await pool.fetchrow(f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2", user_id, task_id))


@app.put("/api/tasks/{task_id}")
async def update_task(task_id: UUID, body: TaskUpdate, pool: PoolDep, user_id: UserDep) -> TaskAnswer:
    row = await pool.fetchrow(
        f"""UPDATE tasks SET title = coalesce($3, title), completed = coalesce($4, completed), updated_at = now(),
                description = CASE WHEN $5 THEN $6 ELSE description END
            WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}""",
        user_id,
        task_id,
        body.title,
        body.completed,
        "description" in body.model_fields_set,
        body.description,
    )
    return answer(row)


@app.delete("/api/tasks/{task_id}", status_code=204)
async def delete_task(task_id: UUID, pool: PoolDep, user_id: UserDep) -> None:
    done = await pool.execute("DELETE FROM tasks WHERE user_id = $1 AND id = $2", user_id, task_id)
    if done == "DELETE 0":
        raise HTTPException(404, "Task not found")
