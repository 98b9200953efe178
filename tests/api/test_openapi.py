"""The OpenAPI document: valid, consistent with the routes and specs/api.md, and exact."""

import re
import sys
from itertools import product
from typing import Any

import jsonschema
import pytest
import schemathesis
from pydantic import BaseModel, ValidationError

from service.app import ROUTES
from service.docs import OPENAPI
from service.tasks import CreateTask, UpdateTask
from service.users import LogIn, SignUp
from service.web.routing import Private, Public
from tests.support.answers import DOCUMENT
from tests.support.commands import PROJECT
from tools.dump_openapi import dump

# Statuses that openapi.toml and specs/api.md do not repeat for each call.
EVERYWHERE = {"408", "413", "500"}


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """The document's operations by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_openapi_json_is_the_result_of_openapi_toml_and_the_models() -> None:
    assert OPENAPI.decode() == dump(), "run `make openapi`, then `make client`"


def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_validation_finds_a_broken_document() -> None:
    broken = {**DOCUMENT, "paths": {"/docs": {"get": {"responses": {"200": {}}}}}}
    with pytest.raises(Exception, match="description"):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_route_is_documented_and_nothing_else() -> None:
    routes = {}
    for route in ROUTES:
        assert isinstance(route.endpoint, Public | Private)
        for method in route.endpoint.handlers.keys() - {"HEAD"}:
            routes[method, route.path] = isinstance(route.endpoint, Private)
    assert {key: bool(operation["security"]) for key, operation in operations().items()} == routes


def test_api_md_lists_the_same_calls_with_the_same_answers() -> None:
    table = re.findall(
        r"^\| `([A-Z]+) (/\S*)` \|.*\|(.*)\|(.*)\|$", (PROJECT / "specs/api.md").read_text(), re.MULTILINE
    )
    listed = {(method, path): set(re.findall(r"\b\d{3}\b", answers)) for method, path, answers, _ in table}
    assert listed == {key: operation["responses"].keys() - EVERYWHERE for key, operation in operations().items()}
    private = {(method, path) for method, path, _, token in table if token.strip() == "yes"}
    assert private == {key for key, operation in operations().items() if operation["security"]}


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(set(ids)) == len(ids)


def test_every_documented_answer_names_its_headers() -> None:
    for key, operation in operations().items():
        for status, answer in operation["responses"].items():
            expected = {"X-Request-ID"}
            if status in ("429", "503"):
                expected.add("Retry-After")
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            if status in ("304", "412") or schema.get("$ref", "").endswith("/TaskAnswer"):
                expected.add("ETag")
            if status == "401":
                expected.add("WWW-Authenticate")
            assert set(answer["headers"]) == expected, (key, status)


def test_the_examples_fit_their_schemas() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, keywords in schema.get("properties", {}).items():
            for example in keywords.get("examples", []):
                errors = validator(name).iter_errors({field: example})
                assert [error for error in errors if error.validator != "required"] == [], (name, field)
    for operation in operations().values():
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    validator("Error").validate(example["value"])


# All blanks and other critical characters, at the ends of texts whose lengths are around the limits.
EDGES = ["", *filter(str.isspace, map(chr, range(sys.maxunicode))), "\u200b", "\0", "é", "😀"]
LENGTHS = (0, 1, 6, 7, 8, 70, 71, 72, 73, 253, 254, 255, 256, 999, 1000, 1001)
TEXTS = [
    left + "x" * length + right for length in LENGTHS for edge in EDGES for left, right in product((edge, ""), repeat=2)
]
VALUES: list[Any] = [None, True, False, 0, 1, [], {}, *TEXTS]
FIELDS = [(model, field) for model in (SignUp, LogIn, CreateTask, UpdateTask) for field in model.model_fields]
ACCEPTED = {"email": "ada@example.com", "password": "correct horse", "title": "Buy milk"}


@pytest.mark.parametrize(("model", "field"), [pair for pair in FIELDS if pair != (SignUp, "email")])
def test_the_schema_allows_exactly_what_the_service_accepts(model: type[BaseModel], field: str) -> None:
    schema = validator(model.__name__)
    others: dict[str, Any] = {
        name: value for name, value in ACCEPTED.items() if name in model.model_fields and name != field
    }
    for body in [others, *({**others, field: value} for value in VALUES)]:
        assert schema.is_valid(body) == accepts(model, body) or beyond_json_schema(model, body), body


def accepts(model: type[BaseModel], body: object) -> bool:
    try:
        model.model_validate(body, strict=True)
    except ValidationError:
        return False
    return True


def beyond_json_schema(model: type[BaseModel], body: dict[str, Any]) -> bool:
    """Whether only the password's number of bytes is wrong: JSON Schema counts characters."""
    return model is SignUp and len(body["password"]) <= 72 < len(body["password"].encode())
