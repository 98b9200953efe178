"""The body of a request: read within its limits and checked against a pydantic model."""

import gc
import time
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, from_json
from starlette.requests import ClientDisconnect, Request

from service.body_memory import LARGE_BYTES
from service.errors import ApiError, bad_request
from service.state import state_of

LARGEST_BYTES = 1024 * 1024
LARGEST_ACCOUNT_BYTES = 16 * 1024
"""For the calls that need no token: an e-mail and a password are short."""

Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request[Any], model: type[Model], otherwise: str = "", largest: int = LARGEST_BYTES) -> Model:
    """The request's body as `model`; raises ApiError 400 or 413, or ClientDisconnect if the client has left.

    `otherwise` is the sentence for an error that none of our own validators found; empty, it says that a field is
    required.
    """
    began = time.monotonic()
    body = await _receive(request, largest)
    request.scope["deadline"] += time.monotonic() - began  # the time that the client took does not count
    # A collection finds nothing to free in a body that is being parsed. 1 MiB of nested arrays took 275 ms, two thirds
    # of them collections.
    gc.disable()
    try:
        return _parse(body, model, otherwise)
    finally:
        gc.enable()


def _parse(body: bytes, model: type[Model], otherwise: str) -> Model:
    try:
        # Not model_validate_json: it accepts NaN in fields that the model ignores.
        content = from_json(body, allow_inf_nan=False)
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


async def _receive(request: Request[Any], largest: int) -> bytes:
    for name, value in request.scope["headers"]:
        # Python refuses to convert more than 4,300 digits; no limit has more than 20.
        if name == b"content-length" and int(value.lstrip(b"0")[:20] or b"0") > largest:
            raise _too_large(largest)
    body: bytes = b""
    counted, memory = 0, state_of(request.scope)["body_memory"]
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                if message.get("late"):  # set by OneWriteCycle
                    raise ApiError(408, "The request body did not arrive in time", {"Connection": "close"})
                raise ClientDisconnect
            body += message["body"]
            if len(body) > largest:
                raise _too_large(largest)
            if not message["more_body"]:
                return body
            if len(body) >= LARGE_BYTES:
                new, counted = len(body) - counted, len(body)
                memory.take(new)
    finally:
        memory.give_back(counted)


def _too_large(largest: int) -> ApiError:
    size = "1 MiB" if largest == LARGEST_BYTES else f"{largest // 1024} KiB"
    return ApiError(413, f"The request body must not exceed {size}")


def validation_error(sentence: str) -> PydanticCustomError:
    """The error that a validator raises for an answer 400 with this sentence."""
    return PydanticCustomError("invalid", "{sentence}", {"sentence": sentence})


def validate_text(field: str, value: object, longest: int | None = None) -> str:
    """Checks a string that will be stored; `longest` counts code points."""
    if not isinstance(value, str):
        raise validation_error(f"{field} must be a string")
    # PostgreSQL's type text cannot hold it.
    if "\0" in value:
        raise validation_error(f"{field} must not contain null characters")
    if longest is not None and len(value) > longest:
        raise validation_error(f"{field} must not exceed {longest} characters")
    return value
