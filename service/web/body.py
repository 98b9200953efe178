"""What comes in: the body of a request, read within its limits and checked against a pydantic model."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, from_json
from starlette.requests import ClientDisconnect, Request

from service.errors import ApiError, bad_request

LARGEST_BYTES = 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request[Any], model: type[Model], otherwise: str = "") -> Model:
    """The request's body as `model`; raises ApiError 400 or 413, or ClientDisconnect where nobody waits.

    `otherwise` is said where none of our own rules speaks; without it, that a field is required.
    """
    try:
        # from_json and not model_validate_json, because that lets NaN pass in fields it ignores.
        content = from_json(await _receive(request), allow_inf_nan=False)
    except ValueError:
        raise bad_request("The request body must be valid JSON") from None
    if not isinstance(content, dict):
        raise bad_request("The request body must be a JSON object")
    try:
        return model.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        ours = first["msg"] if first["type"] == "invalid" else otherwise
        raise bad_request(ours or f"{str(first['loc'][0]).capitalize()} is required") from None


async def _receive(request: Request[Any]) -> bytes:
    for name, value in request.scope["headers"]:
        if name == b"content-length" and int(value) > LARGEST_BYTES:
            raise _too_large()
    body: bytes = b""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            if message.get("late"):  # says our own protocol
                raise ApiError(408, "The request body did not arrive in time", {"Connection": "close"})
            raise ClientDisconnect
        body += message["body"]
        if len(body) > LARGEST_BYTES:
            raise _too_large()
        if not message["more_body"]:
            return body


def _too_large() -> ApiError:
    return ApiError(413, "The request body must not exceed 1 MiB")


def validation_error(sentence: str) -> PydanticCustomError:
    """What a validator raises to answer 400 with this sentence."""
    return PydanticCustomError("invalid", "{sentence}", {"sentence": sentence})


def validate_text(field: str, value: object, longest: int | None = None) -> str:
    """Checks a string that is to be stored; `longest` in code points."""
    if not isinstance(value, str):
        raise validation_error(f"{field} must be a string")
    # PostgreSQL's text cannot hold it.
    if "\0" in value:
        raise validation_error(f"{field} must not contain null characters")
    if longest is not None and len(value) > longest:
        raise validation_error(f"{field} must not exceed {longest} characters")
    return value
