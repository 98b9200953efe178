"""Faults for planted_faults.py, each a list of replacements in the service's source."""

from typing import NamedTuple

TASKS, SQL, KEYS = "service/tasks.py", "sql/queries/tasks.sql", "service/web/idempotency.py"
AUTH, ROUTING = "service/auth/tokens.py", "service/web/routing.py"


class Edit(NamedTuple):
    """In `file`, the first `old` after `start` becomes `new`."""

    file: str
    start: str
    old: str
    new: str


LIST, GET = "name: list_tasks", "name: get_task"
CREATE, CREATE_CHECKED = "name: create_task\n", "name: create_task_checked"
UPDATE, DELETE = "name: update_task\n", "name: delete_task\n"
UPDATE_IF_MATCH, DELETE_IF_MATCH = "name: update_task_if_match", "name: delete_task_if_match"
SAME_TASK = "when fingerprint is not distinct from $5 then"
OWNER, ANYBODY = "where user_id = $1 and id = $2", "where $1::uuid is not null and id = $2"
FAULTS: dict[str, tuple[Edit, ...]] = {
    "nothing": (),
    "get without the owner": (Edit(SQL, GET, OWNER, ANYBODY),),
    "list without the owner": (Edit(SQL, LIST, "where user_id = $1", "where $1::uuid is not null"),),
    "update without the owner": (Edit(SQL, UPDATE, OWNER, ANYBODY),),
    "delete without the owner": (Edit(SQL, DELETE, OWNER, ANYBODY),),
    "owner and id swapped in delete": (Edit(SQL, DELETE, OWNER, "where user_id = $2 and id = $1"),),
    "completed and description swapped in update": (
        Edit(SQL, UPDATE, "coalesce($4", "coalesce($5"),
        Edit(SQL, UPDATE, "case when $5", "case when $4"),
    ),
    "update clears what was not sent": (
        Edit(SQL, UPDATE, "when $5 then $6 else description", "when $5 then $6 else null"),
    ),
    "update moves created_at": (Edit(SQL, UPDATE, "description = case", "created_at = now(), description = case"),),
    "update leaves updated_at": (Edit(SQL, UPDATE, "updated_at = greatest(", "updated_at = least(updated_at,"),),
    "list is oldest first": (Edit(SQL, LIST, "created_at desc, id desc", "created_at, id"),),
    "403 for what is not yours": (Edit(TASKS, "def _found", "not_found(", "ApiError(403, "),),
    "delete answers 204 for nothing": (Edit(TASKS, "async def delete_task", "if row is None", "if row is ..."),),
    "create takes completed": (
        Edit(SQL, CREATE, "description)\n", "description, completed)\n"),
        Edit(SQL, CREATE, "$4)", "$4, $5)"),
        Edit(SQL, CREATE_CHECKED, "fingerprint)\n", "fingerprint, completed)\n"),
        Edit(SQL, CREATE_CHECKED, "select $1, $2, $3, $4, $5", "select $1, $2, $3, $4, $5, $8"),
        Edit(TASKS, "class CreateTask", "= None\n", "= None\n    completed: Any = False\n"),
        Edit(TASKS, "SQL.create_task_checked", "federated)", "federated, sent.completed is True)"),
        Edit(TASKS, "SQL.create_task,", "sent.description)", "sent.description, sent.completed is True)"),
    ),
    "create takes user_id from the body": (
        Edit(TASKS, "class CreateTask", "= None\n", "= None\n    user_id: Any = None\n"),
        Edit(TASKS, "SQL.create_task,", "user.id", "sent.user_id or user.id"),
        Edit(TASKS, "async def create_task", "task = (user.id", "task = (sent.user_id or user.id"),
    ),
    "a fingerprint not compared": (Edit(SQL, CREATE_CHECKED, SAME_TASK, "when true then"),),
    "a fingerprint of the title alone": (Edit(KEYS, "def fingerprint", "[title, description]", "[title]"),),
    "a key shared by two users": (Edit(KEYS, "def task_id", "user_id.lower()", '""'),),
    "a random id in spite of a key": (Edit(TASKS, "task = (user.id", "if key is None else", "if key is not ... else"),),
    "a version not compared in update": (
        Edit(SQL, UPDATE_IF_MATCH, "present.updated_at = any($7)", "(true or present.updated_at = any($7))"),
    ),
    "a version not compared in delete": (
        Edit(SQL, DELETE_IF_MATCH, "present.updated_at = any($3)", "(true or present.updated_at = any($3))"),
        Edit(SQL, DELETE_IF_MATCH, "    updated_at = any($3) as", "    true or updated_at = any($3) as"),
    ),
    "a version compared before the row is locked": (Edit(SQL, UPDATE_IF_MATCH, "    for update\n", ""),),
    "412 with the tag that was sent": (Edit(TASKS, "def _matched", "(tags, task.tag)", "(tags, b'\"\"')"),),
    "list takes user_id from the query": (
        Edit(TASKS, "async def list_tasks", "tasks, user.id)", 'tasks, request.query_params.get("user_id", user.id))'),
    ),
    "token cache without the signature": (
        Edit(AUTH, "def remembered", ".get(authorization)", '.get(authorization.rpartition(b".")[0])'),
        Edit(AUTH, "def _check", "[key] =", '[key.rpartition(b".")[0]] ='),
    ),
    "token cache that never forgets": (Edit(AUTH, "def remembered", "time.time() < known.until", "known.until"),),
    "ended tokens are still accepted": (Edit(AUTH, "def _check", "issued_at < cutoff", "issued_at < 0 * cutoff"),),
    "lists cached, and stale after an update": (
        Edit(TASKS, "async def list_tasks", "row = ", "row = LISTS[user] = LISTS.get(user) or "),
        Edit(TASKS, "async def list_tasks", "async def create", "LISTS: dict[Any, Any] = {}\n\n\nasync def create"),
        Edit(TASKS, "async def create_task", "    sent =", "    LISTS.pop(user, None)\n    sent ="),
        Edit(TASKS, "async def delete_task", "    task_id", "    LISTS.pop(user, None)\n    task_id"),
    ),
    "requests at once share their user": (
        Edit(ROUTING, '"""', "from collections", "import asyncio\nfrom collections"),
        Edit(
            ROUTING, "class Private", '        scope["user"] = ', '        self.user = user\n        scope["user"] = '
        ),
        Edit(
            ROUTING, "class Private", "        await _send(", "        await asyncio.sleep(0.002)\n        await _send("
        ),
        Edit(ROUTING, "class Private", "send), user)", "send), self.user)"),
    ),
}
