"""The tasks: each handler runs one statement of sql/queries/tasks.sql for the token's user, and sends its answer."""

import os
from collections.abc import Awaitable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator
from starlette.requests import Request
from starlette.responses import Response

from service.auth.tokens import UUID, User
from service.errors import ApiError, not_found
from service.postgres.queries import SQL, Query
from service.state import State, state_of
from service.web import body, idempotency
from service.web.body import validate_text, validation_error
from service.web.preconditions import if_match, if_none_match, not_matched, versions
from service.web.responses import RawJSONResponse, TaskResponse

# The row of a DELETE under If-Match that finds nothing when it is sent again: the first sending has deleted the task.
DELETED = {"body": "", "matched": True}


def _title(value: object, when_blank: str) -> str:
    # Trimmed before it is measured; tasks_title_trimmed in the database knows the same blanks as str.strip.
    title = "" if value is None else validate_text("Title", value).strip()
    if not title:
        raise validation_error(when_blank)
    return validate_text("Title", title, longest=255)


def _description(value: object) -> str | None:
    return None if value is None else validate_text("Description", value, longest=1000)


def _completed(value: object) -> bool:
    if not isinstance(value, bool):
        raise validation_error("Completed must be true or false")
    return value


NewTitle = Annotated[str, BeforeValidator(lambda value: _title(value, "Title is required"))]
OtherTitle = Annotated[str, BeforeValidator(lambda value: _title(value, "Title cannot be empty"))]
Description = Annotated[str | None, BeforeValidator(_description)]
Completed = Annotated[bool, BeforeValidator(_completed)]


class CreateTask(BaseModel):
    title: NewTitle
    description: Description = None


class UpdateTask(BaseModel):
    """What is not sent stays; `model_fields_set` tells what was."""

    title: OtherTitle = ""
    description: Description = None
    completed: Completed = False


async def list_tasks(request: Request[State], user: User) -> Response:
    row = await _fetch_one(request, SQL.list_tasks, user.id)
    return RawJSONResponse(row["body"])


async def head_tasks(request: Request[State], user: User) -> Response:
    """The list's headers. Content-Length is left out (RFC 9110, 9.3.2), or the list would have to be made."""
    response = Response(media_type="application/json")
    del response.headers["content-length"]
    return response


async def create_task(request: Request[State], user: User) -> Response:
    sent = await body.read(request, CreateTask)
    state = state_of(request.scope)
    limit, key = state["task_limit"], idempotency.read_key(request.scope)
    most = limit.most if limit.needs_count(user.id) else 0
    if key is None and not most and not user.federated:
        row = await _fetch_one(request, SQL.create_task, user.id, _new_id(), sent.title, sent.description)
        return TaskResponse(row["body"], 201)
    task = (user.id, _new_id(), sent.title, sent.description, None) if key is None else _keyed(state, user, key, sent)
    row = await _fetch_one(request, SQL.create_task_checked, *task, most, user.federated)
    if row is None:
        raise limit.reached()
    if most:
        limit.counted(user.id, row["held"])
    if row["body"] is None:
        raise ApiError(422, "This Idempotency-Key was used for another task")
    return TaskResponse(row["body"], 201)


async def get_task(request: Request[State], user: User) -> Response:
    task = _found(await _fetch_one(request, SQL.get_task, user.id, _task_id(request)))
    if if_none_match(request.scope, task.tag):
        return Response(status_code=304, headers={"ETag": task.tag.decode()})
    return task


async def update_task(request: Request[State], user: User) -> Response:
    sent = await body.read(request, UpdateTask)
    task_id, tags, given = _task_id(request), if_match(request.scope), sent.model_fields_set
    if not given:
        task = _found(await _fetch_one(request, SQL.get_task, user.id, task_id))
        if tags is not None and task.tag not in tags:
            raise not_matched(tags, task.tag)
        return task
    title = sent.title if "title" in given else None
    completed = sent.completed if "completed" in given else None
    change = (user.id, task_id, title, completed, "description" in given, sent.description)
    if tags is None:
        return _found(await _fetch_one(request, SQL.update_task, *change))
    row = await _fetch_one(request, SQL.update_task_if_match, *change, versions(tags), _new_id())
    return _matched(row, tags)


async def delete_task(request: Request[State], user: User) -> Response:
    task_id, tags = _task_id(request), if_match(request.scope)
    if tags is None:
        row = await _fetch_one(request, SQL.delete_task, user.id, task_id, default_on_retry=True)
        if row is None:
            raise not_found("Task not found")
    else:
        given = (user.id, task_id, versions(tags))
        row = await _fetch_one(request, SQL.delete_task_if_match, *given, default_on_retry=DELETED)
        _matched(row, tags)
    return Response(status_code=204)


def _fetch_one(request: Request[State], query: Query, *args: Any, default_on_retry: Any = None) -> Awaitable[Any]:
    scope = request.scope
    pool = state_of(scope)["pool"]
    return pool.fetch_one(query, *args, deadline=scope["deadline"], default_on_retry=default_on_retry)


def _keyed(state: State, user: User, key: bytes, sent: CreateTask) -> tuple[str, str, str, str | None, bytes | None]:
    """The parameters of a create whose id and fingerprint come from its Idempotency-Key."""
    secret = state["idempotency_secret"]
    fingerprint = idempotency.fingerprint(secret, sent.title, sent.description)
    return user.id, idempotency.task_id(secret, user.id, key), sent.title, sent.description, fingerprint


def _new_id() -> str:
    """A UUID of version 4 (RFC 9562), made of text: uuid.uuid4() takes 4% of a create's instructions, this 1%."""
    random = os.urandom(16).hex()
    return f"{random[:12]}4{random[13:16]}8{random[17:]}"


def _task_id(request: Request[State]) -> str:
    # An id that is no UUID is nobody's task.
    task_id: str = request.path_params["id"]
    if not UUID.fullmatch(task_id):
        raise not_found("Task not found")
    return task_id


def _found(row: Any) -> TaskResponse:
    if row is None:
        raise not_found("Task not found")
    return TaskResponse(row["body"])


def _matched(row: Any, tags: list[bytes]) -> TaskResponse:
    """The task after a statement with a condition; raises ApiError: 404, or what `not_matched` says."""
    task = _found(row)
    if not row["matched"]:
        raise not_matched(tags, task.tag)
    return task
