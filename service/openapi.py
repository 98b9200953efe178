"""Builds the OpenAPI document from the table in docs.py and the pydantic models, exact enough to be tested against."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel

from service.errors import Error
from service.schemas import JsonSchema, schemas

# What an answer carries: a model, a schema, the sentences that an error may say, or nothing.
Answer = type[BaseModel] | JsonSchema | tuple[str, ...] | None


class Operation(NamedTuple):
    id: str
    tag: str
    summary: str
    answers: dict[int, Answer]
    sent: type[BaseModel] | None = None
    private: bool = False


DESCRIPTION = """
The backend of a multi-user todo application. Sign up or log in, then send the token as `Authorization: Bearer …`.

Every error is `{"error": "a sentence for a person"}`, an unknown path (404) and a wrong method (405, see `Allow`) too.
Fields that an operation does not know are ignored; HEAD works wherever GET does.
"""

TITLE_OF_STATUS = {
    200: "Done", 201: "Created", 204: "Done, no body", 400: "What is wrong with the request", 401: "Not authenticated",
    404: "No such task of yours", 408: "The body took too long", 409: "Already taken", 413: "The body is over 1 MiB",
    429: "Too many failed attempts", 500: "Our mistake", 503: "Too much at once, or the database is away",
}  # fmt: skip

HEADERS = {
    "X-Request-ID": {
        "description": "Names the request in the log: your own X-Request-ID, if it is 1 to 128 of `A-Za-z0-9._-`.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}},
}


def document(operations: Mapping[tuple[str, str], Operation]) -> JsonSchema:
    sent = [operation.sent for operation in operations.values() if operation.sent]
    answered = [
        answer
        for operation in operations.values()
        for answer in operation.answers.values()
        if isinstance(answer, type) and issubclass(answer, BaseModel)
    ]
    paths: dict[str, JsonSchema] = {}
    for (method, path), operation in operations.items():
        item = paths.setdefault(path, {})
        if path.endswith("{id}"):
            item["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
            ]
        item[method.lower()] = _operation(path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Todo API", "version": "1.0.0", "description": DESCRIPTION.strip()},
        # Relative to this document, so that it holds behind a proxy's prefix too.
        "servers": [{"url": ".", "description": "this service"}],
        "paths": paths,
        "components": {
            "schemas": schemas(sent, [Error, *answered]),
            "headers": HEADERS,
            "securitySchemes": {"bearerJWT": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def status(word: str) -> JsonSchema:
    """The schema of {"status": word}."""
    properties = {"status": {"type": "string", "const": word}}
    return {"type": "object", "properties": properties, "required": ["status"], "additionalProperties": False}


def _operation(path: str, operation: Operation) -> JsonSchema:
    answers: dict[int, Answer] = {**operation.answers, 500: ("Internal server error",)}
    if operation.sent:
        answers |= {408: ("The request body did not arrive in time",), 413: ("The request body must not exceed 1 MiB",)}
    described: JsonSchema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [{"bearerJWT": []}] if operation.private else [],
        "responses": {str(code): _answer(path, code, answers[code]) for code in sorted(answers)},
    }
    if operation.sent:
        schema = _ref("schemas", operation.sent.__name__)
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _answer(path: str, code: int, answer: Answer) -> JsonSchema:
    names = ["X-Request-ID"]
    if code == 401:
        names.append("WWW-Authenticate")
    if code in (429, 503):
        names.append("Retry-After")
    described: JsonSchema = {
        "description": TITLE_OF_STATUS[code],
        "headers": {name: _ref("headers", name) for name in names},
    }
    if answer is not None:
        media = "text/html" if path == "/docs" and code == 200 else "application/json"
        described["content"] = {media: _body(answer)}
    return described


def _body(answer: type[BaseModel] | JsonSchema | tuple[str, ...]) -> JsonSchema:
    if isinstance(answer, tuple):
        examples = {sentence: {"value": {"error": sentence}} for sentence in answer}
        return {"schema": _ref("schemas", "Error"), "examples": examples}
    return {"schema": answer if isinstance(answer, dict) else _ref("schemas", answer.__name__)}


def _ref(kind: str, name: str) -> JsonSchema:
    return {"$ref": f"#/components/{kind}/{name}"}
