"""The JSON Schemas of the pydantic models, made as exact as the models' own validators are."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

JsonSchema = dict[str, Any]

# What the models' own validators demand, in JSON Schema's words. "Blank" is what Python's str.strip takes off.
BLANK = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NO_NUL = r"^[^\x00]*$"
TITLE = {
    "description": "1 to 255 characters (code points), not counting blanks around them; no null characters.",
    "pattern": rf"^[{BLANK}]*[^\x00{BLANK}]([^\x00]{{0,253}}[^\x00{BLANK}])?[{BLANK}]*$",
    "examples": ["Buy milk"],
}
TEXT = {
    "description": "Kept exactly as sent, the empty string too; no null characters.",
    "maxLength": 1000,
    "pattern": NO_NUL,
    "examples": ["Two litres"],
}
EMAIL = {
    "description": "Blanks around it are taken off, and its case does not count.",
    "format": "email",
    "maxLength": 255,
    "examples": ["ada@example.com"],
}
PASSWORD = {
    "description": "At least 8 characters, at most 72 bytes in UTF-8; no null characters.",
    "format": "password",
    "minLength": 8,
    "maxLength": 72,
    "pattern": NO_NUL,
    "examples": ["correct horse battery"],
}
TIME = {"description": "UTC.", "pattern": r"\.[0-9]{6}Z$", "examples": ["2026-01-31T09:30:00.000000Z"]}
FIELDS: dict[str, dict[str, JsonSchema]] = {
    "SignUp": {"email": EMAIL, "password": PASSWORD},
    "LogIn": {
        "email": {"pattern": f"[^{BLANK}]", "examples": EMAIL["examples"]},
        "password": {"format": "password", "minLength": 1, "examples": PASSWORD["examples"]},
    },
    "CreateTask": {"title": TITLE, "description": TEXT},
    "UpdateTask": {"title": TITLE, "description": TEXT, "completed": {"examples": [True]}},
    "Account": {"token": {"description": "A JWT (HS256): `user_id`, `sub`, `email`, `iat`, `exp`."}},
    "User": {"email": {"description": "In lower case.", "maxLength": 255, "examples": EMAIL["examples"]}},
    "Task": {
        "title": {"minLength": 1, "maxLength": 255, "examples": TITLE["examples"]},
        "description": {"maxLength": 1000, "examples": TEXT["examples"]},
        "created_at": TIME,
        "updated_at": TIME,
    },
    "Error": {"error": {"description": "A sentence to show to a person.", "minLength": 1}},
}
# Its model has defaults, so that whatever is missing is answered with the one sentence.
REQUIRED = {"LogIn": ["email", "password"]}


class _Schema(GenerateJsonSchema):
    """Leaves out what tells a client nothing: defaults (not sent is not sent) and titles that repeat the name."""

    def default_schema(self, schema: Any) -> JsonSchema:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas(sent: Sequence[type[BaseModel]], answered: Sequence[type[BaseModel]]) -> JsonSchema:
    """The schemas by name. What is sent may hold more than its fields, what is answered never does."""
    _, built = models_json_schema(
        [*((model, "validation") for model in sent), *((model, "serialization") for model in answered)],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schema,
    )
    named: JsonSchema = built["$defs"]
    for schema in named.values():
        schema.pop("description", None)  # the model's docstring, written for those who read the code
    for name in named.keys() - {model.__name__ for model in sent}:
        named[name]["additionalProperties"] = False
    for name, fields in FIELDS.items():
        for field, keywords in fields.items():
            named[name]["properties"][field].update(keywords)
    for name, required in REQUIRED.items():
        named[name]["required"] = required
    return named
