"""FastAPI 0.109 with SQLModel 0.0.14, one SQLAlchemy session per request, psycopg2.

Written as the SQLModel tutorial and FastAPI's own full-stack template teach it: plain `def` endpoints, which FastAPI
runs on its thread pool, and a dependency that turns the token into the current user's row.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Column, DateTime
from sqlmodel import Field, Session, SQLModel, create_engine, select

SECRET = os.environ["BETTER_AUTH_SECRET"]
engine = create_engine(os.environ["DATABASE_URL"], pool_size=int(os.environ["POOL_SIZE"]), max_overflow=0)


def now() -> datetime:
    return datetime.now(UTC)


class TaskCreate(SQLModel):
    title: str = Field(min_length=1, max_length=255)
    description: str | None = Field(default=None, max_length=1000)


class TaskUpdate(SQLModel):
    title: str | None = Field(default=None, min_length=1, max_length=255)
    description: str | None = Field(default=None, max_length=1000)
    completed: bool | None = None


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: UUID = Field(primary_key=True)
    email: str
    password_hash: str


class Task(SQLModel, table=True):
    __tablename__ = "tasks"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: UUID = Field(primary_key=True, foreign_key="users.id")
    title: str
    description: str | None = None
    completed: bool = False
    created_at: datetime = Field(default_factory=now, sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(default_factory=now, sa_column=Column(DateTime(timezone=True), nullable=False))


class TaskRead(SQLModel):
    id: UUID
    title: str
    description: str | None
    completed: bool
    user_id: UUID
    created_at: datetime
    updated_at: datetime


class TaskAnswer(SQLModel):
    task: TaskRead


class TaskList(SQLModel):
    tasks: list[TaskRead]


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


bearer = HTTPBearer(auto_error=False)
SessionDep = Annotated[Session, Depends(get_session)]
CredentialsDep = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def get_current_user(session: SessionDep, credentials: CredentialsDep) -> User:
    try:
        if credentials is None:
            raise jwt.InvalidTokenError
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
        user = session.get(User, UUID(claims["user_id"]))
    except (jwt.InvalidTokenError, KeyError, ValueError):
        user = None
    if user is None:
        raise HTTPException(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]

app = FastAPI()
app.add_middleware(
    CORSMiddleware,
    allow_origins=os.environ["FRONTEND_URL"].split(","),
    allow_methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    allow_headers=["Authorization", "Content-Type"],
)


@app.exception_handler(HTTPException)
def http_error(request: Request, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


@app.exception_handler(RequestValidationError)
def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"error": error.errors()[0]["msg"]}, 400)


def find(session: Session, task_id: UUID, user: User) -> Task:
    task = session.exec(select(Task).where(Task.id == task_id, Task.user_id == user.id)).first()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


@app.get("/api/tasks", response_model=TaskList)
def list_tasks(session: SessionDep, user: CurrentUser):
    statement = select(Task).where(Task.user_id == user.id).order_by(Task.created_at.desc(), Task.id.desc())
    return {"tasks": session.exec(statement).all()}


@app.post("/api/tasks", response_model=TaskAnswer, status_code=201)
def create_task(body: TaskCreate, session: SessionDep, user: CurrentUser):
    task = Task(**body.model_dump(), user_id=user.id)
    session.add(task)
    session.commit()
    session.refresh(task)
    return {"task": task}


@app.get("/api/tasks/{task_id}", response_model=TaskAnswer)
def get_task(task_id: UUID, session: SessionDep, user: CurrentUser):
    return {"task": find(session, task_id, user)}


@app.put("/api/tasks/{task_id}", response_model=TaskAnswer)
def update_task(task_id: UUID, body: TaskUpdate, session: SessionDep, user: CurrentUser):
    task = find(session, task_id, user)
    for field, value in body.model_dump(exclude_unset=True).items():
        setattr(task, field, value)
    task.updated_at = now()
    session.add(task)
    session.commit()
    session.refresh(task)
    return {"task": task}


@app.delete("/api/tasks/{task_id}", status_code=204, response_class=Response)
def delete_task(task_id: UUID, session: SessionDep, user: CurrentUser):
    session.delete(find(session, task_id, user))
    session.commit()
