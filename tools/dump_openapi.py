"""`make openapi`: writes service/openapi.json from specs/openapi.toml and the models; a test compares them."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from service.tasks import CreateTask, UpdateTask
from service.users import LogIn, SignUp

JsonSchema = dict[str, Any]

PROJECT = Path(__file__).parent.parent
WORDS: JsonSchema = tomllib.loads((PROJECT / "specs" / "openapi.toml").read_text("utf-8"))
SENT = (SignUp, LogIn, CreateTask, UpdateTask)
OF_EVERY_BODY = {"408": ["The request body did not arrive in time"], "413": ["The request body must not exceed 1 MiB"]}


def dump() -> str:
    paths: dict[str, JsonSchema] = {}
    for operation in WORDS["operations"]:
        method, path = operation["call"].split()
        item = paths.setdefault(path, {})
        if path.endswith("{id}"):
            item["parameters"] = [WORDS["id"]]
        item[method.lower()] = _operation(path, operation)
    components = WORDS["components"] | {"schemas": _sent() | WORDS["components"]["schemas"]}
    document = WORDS["document"] | {"paths": paths, "components": components}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _operation(path: str, words: JsonSchema) -> JsonSchema:
    answers = {"500": ["Internal server error"]} | (OF_EVERY_BODY if "sent" in words else {}) | words["answers"]
    described: JsonSchema = {
        "operationId": words["id"],
        "tags": [words["tag"]],
        "summary": words["summary"],
        "security": [{"bearerJWT": []}] if words.get("private") else [],
        "responses": {code: _answer(path, code, answers[code]) for code in sorted(answers)},
    }
    if "headers" in words:
        described["parameters"] = [WORDS["parameters"][name] for name in words["headers"]]
    if "sent" in words:
        content = {"application/json": {"schema": _ref("schemas", words["sent"])}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _answer(path: str, code: str, answer: JsonSchema | list[str] | str) -> JsonSchema:
    carried = {
        "304": ["ETag"],
        "401": ["WWW-Authenticate"],
        "412": ["ETag"],
        "429": ["Retry-After"],
        "503": ["Retry-After"],
    }
    if answer == "TaskAnswer":
        carried[code] = ["ETag"]
    headers = {name: _ref("headers", name) for name in ["X-Request-ID", *carried.get(code, [])]}
    described: JsonSchema = {"description": WORDS["statuses"][code], "headers": headers}
    if answer:
        media = "text/html" if path == "/docs" and code == "200" else "application/json"
        described["content"] = {media: _body(answer)}
    return described


def _body(answer: JsonSchema | list[str] | str) -> JsonSchema:
    if isinstance(answer, list):
        examples = {sentence: {"value": {"error": sentence}} for sentence in answer}
        return {"schema": _ref("schemas", "Error"), "examples": examples}
    return {"schema": _ref("schemas", answer) if isinstance(answer, str) else answer}


def _ref(kind: str, name: str) -> JsonSchema:
    return {"$ref": f"#/components/{kind}/{name}"}


class _Schema(GenerateJsonSchema):
    """Leaves out defaults, because a field that is not sent has no value, and titles that repeat the name."""

    def default_schema(self, schema: Any) -> JsonSchema:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _sent() -> JsonSchema:
    models = [(model, "validation") for model in SENT]
    _, built = models_json_schema(models, ref_template="#/components/schemas/{model}", schema_generator=_Schema)  # type: ignore[arg-type]
    named: JsonSchema = built["$defs"]
    for name, fields in WORDS["fields"].items():
        named[name].pop("description", None)  # the model's docstring is for readers of the code
        for field, keywords in fields.items():
            named[name]["properties"][field].update(WORDS["keywords"][keywords])
    return named


if __name__ == "__main__":
    (PROJECT / "service" / "openapi.json").write_text(dump(), "utf-8")
