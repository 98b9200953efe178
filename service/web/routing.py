"""From a route to its handler: by method and, except on public paths, only with a verified user."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.auth.tokens import User
from service.errors import ApiError
from service.state import State, state_of
from service.web.limits import LARGE_ANSWER_BYTES, make_room

PublicHandler = Callable[[Request[State]], Awaitable[Response]]
Handler = Callable[[Request[State], User], Awaitable[Response]]
Either = TypeVar("Either", PublicHandler, Handler)

LONGEST_AUTHORIZATION = 8 * 1024


class Public:
    """The methods of one path that need no token. One object holds all of them, so that `Allow` can name them."""

    def __init__(self, **handlers: PublicHandler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        await _send(await handler(Request(scope, receive, send)), scope, receive, send)


class Private:
    """The methods of one path that need a token. A handler takes the user, so it cannot be called without one."""

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        tokens, authorization = state_of(scope)["tokens"], _authorization(scope)
        user = tokens.remembered(authorization)
        if user is None:
            user = await tokens.verify(authorization)
        scope["user"] = user.id  # for the request log
        await _send(await handler(Request(scope, receive, send), user), scope, receive, send)


async def _send(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if len(response.body) >= LARGE_ANSWER_BYTES:
        make_room(scope, len(response.body))
    await response(scope, receive, send)


def _authorization(scope: Scope) -> bytes:
    """The value of the Authorization header. Empty if it is missing, too long, or sent twice: a proxy in front may
    check one of the two and the service the other."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 and len(values[0]) <= LONGEST_AUTHORIZATION else b""


def _with_head(handlers: dict[str, Either]) -> dict[str, Either]:
    """HEAD is answered as GET is, without the body, which the server leaves off; or by a handler of its own."""
    return {"HEAD": handlers["GET"], **handlers} if "GET" in handlers else handlers


def _choose(handlers: dict[str, Either], scope: Scope) -> Either:
    handler = handlers.get(scope["method"])
    if handler is None:
        raise ApiError(405, "Method not allowed", {"Allow": ", ".join(handlers)})
    return handler
