"""GET /openapi.json and GET /docs: the API described for machines and, by Swagger UI, for people."""

import base64
import hashlib
import json
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.openapi import Operation, document, status
from service.state import State
from service.tasks import CreateTask, TaskAnswer, TaskList, UpdateTask
from service.users import Account, LogIn, SignUp

AWAY = ("Service temporarily unavailable",)
TOKEN = ("Unauthorized",)
NO_TASK = ("Task not found",)
NOT_JSON = "The request body must be valid JSON"
# 500 goes without saying for every operation, 408 and 413 for those that are sent something.
OPERATIONS = {
    ("POST", "/api/auth/signup"): Operation(
        "signUp", "Accounts", "Create an account and get its token",
        {201: Account, 400: ("Invalid email format", "Password must be at least 8 characters", NOT_JSON),
         409: ("Email already registered",), 503: AWAY}, sent=SignUp),
    ("POST", "/api/auth/login"): Operation(
        "logIn", "Accounts", "Get a token",
        {200: Account, 400: ("Email and password required", NOT_JSON), 401: ("Invalid email or password",),
         429: ("Too many attempts, try again in 60 seconds",), 503: AWAY}, sent=LogIn),
    ("GET", "/api/tasks"): Operation(
        "listTasks", "Tasks", "List your tasks, newest first",
        {200: TaskList, 401: TOKEN, 503: AWAY}, private=True),
    ("POST", "/api/tasks"): Operation(
        "createTask", "Tasks", "Create a task",
        {201: TaskAnswer, 400: ("Title is required", "Title must not exceed 255 characters", NOT_JSON),
         401: TOKEN, 503: AWAY}, sent=CreateTask, private=True),
    ("GET", "/api/tasks/{id}"): Operation(
        "getTask", "Tasks", "Get one of your tasks",
        {200: TaskAnswer, 401: TOKEN, 404: NO_TASK, 503: AWAY}, private=True),
    ("PUT", "/api/tasks/{id}"): Operation(
        "updateTask", "Tasks", "Change the fields that are sent; what is not sent stays",
        {200: TaskAnswer, 400: ("Title cannot be empty", "Completed must be true or false", NOT_JSON),
         401: TOKEN, 404: NO_TASK, 503: AWAY}, sent=UpdateTask, private=True),
    ("DELETE", "/api/tasks/{id}"): Operation(
        "deleteTask", "Tasks", "Delete one of your tasks",
        {204: None, 401: TOKEN, 404: NO_TASK, 503: AWAY}, private=True),
    ("GET", "/health"): Operation(
        "health", "Service", "Whether the service can work: it asks the database",
        {200: status("healthy"), 503: status("unhealthy")}),
    ("GET", "/livez"): Operation(
        "livez", "Service", "Whether the process lives: it does not touch the database",
        {200: status("alive")}),
    ("GET", "/openapi.json"): Operation(
        "openapi", "Service", "This document",
        {200: {"type": "object", "required": ["openapi", "info", "paths"]}}),
    ("GET", "/docs"): Operation(
        "docs", "Service", "This document as a page for people",
        {200: {"type": "string", "contentMediaType": "text/html"}}),
}  # fmt: skip

ASSETS = Path(__file__).parent / "swagger-ui"

# The address is relative, so that the page also works behind a proxy that serves it under a prefix.
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Todo API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="swagger-ui"></div>
<script>{bundle}</script>
<script>{start}</script>
</body>
</html>
"""


def inlined(script: str) -> str:
    r"""The script, safe between <script> tags: \x3C is "<" in JavaScript's strings and patterns, but never in HTML."""
    for dangerous in ("<!--", "<script", "</script"):
        script = script.replace(dangerous, r"\x3C" + dangerous[1:])
    return script


def source(inline: str) -> str:
    """What a Content-Security-Policy calls this inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def page() -> tuple[bytes, str]:
    """The docs page, and the Content-Security-Policy that allows its own parts and nothing else."""
    style = (ASSETS / "swagger-ui.css").read_text("utf-8")
    bundle = inlined((ASSETS / "swagger-ui-bundle.js").read_text("utf-8"))
    policy = (
        f"default-src 'none'; script-src {source(bundle)} {source(START)}; style-src {source(style)}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return PAGE.format(style=style, bundle=bundle, start=START).encode(), policy


# Built once, at the start: nobody waits for them and nobody's request makes the process grow.
OPENAPI = json.dumps(document(OPERATIONS), ensure_ascii=False).encode()
DOCS, DOCS_POLICY = page()


async def openapi(_: Request[State]) -> Response:
    return Response(OPENAPI, media_type="application/json")


async def docs(_: Request[State]) -> Response:
    return Response(DOCS, headers={"Content-Security-Policy": DOCS_POLICY}, media_type="text/html")
