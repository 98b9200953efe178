"""How a route reaches its handlers: by method, and on all paths but the public ones only with a verified user."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.auth.tokens import User
from service.errors import ApiError
from service.state import State, state_of

PublicHandler = Callable[[Request[State]], Awaitable[Response]]
Handler = Callable[[Request[State], User], Awaitable[Response]]
Either = TypeVar("Either", PublicHandler, Handler)


class Public:
    """The methods of one path that anybody may call. One object for all of them, so that `Allow` can name them all."""

    def __init__(self, **handlers: PublicHandler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)


class Private:
    """The methods of one path that need a token: a handler here takes the user, so it cannot be reached without one."""

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        tokens, authorization = state_of(scope)["tokens"], _authorization(scope)
        user = tokens.remembered(authorization)
        if user is None:
            user = await tokens.verify(authorization)
        scope["user"] = user.id  # for the request log
        response = await handler(Request(scope, receive, send), user)
        await response(scope, receive, send)


def _authorization(scope: Scope) -> bytes:
    """The value of the Authorization header; empty where there is none, or two of which a proxy may believe another."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 else b""


def _with_head(handlers: dict[str, Either]) -> dict[str, Either]:
    """HEAD is answered as GET is, without the body, which the server leaves off; or by a handler of its own."""
    return {"HEAD": handlers["GET"], **handlers} if "GET" in handlers else handlers


def _choose(handlers: dict[str, Either], scope: Scope) -> Either:
    handler = handlers.get(scope["method"])
    if handler is None:
        raise ApiError(405, "Method not allowed", {"Allow": ", ".join(handlers)})
    return handler
