"""From a path to its route and its handler: by method and, except on public paths, only with a verified user."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from service.auth.tokens import User
from service.errors import ApiError
from service.postgres.pool import deadline_after
from service.state import State, state_of
from service.web.connection_limits import LARGE_ANSWER_BYTES, make_room

PublicHandler = Callable[[Request[State]], Awaitable[Response]]
Handler = Callable[[Request[State], User], Awaitable[Response]]
Either = TypeVar("Either", PublicHandler, Handler)


class DictRouter(Router):
    """Finds a route by its path, or by what stands before a last part `{id}`. No route has other parameters.

    Starlette matches one regular expression after the other and makes two dictionaries for each match: 6.8% of a
    worker's instructions for a get."""

    def __init__(self, routes: Sequence[Route], **options: Any) -> None:
        super().__init__(routes, **options)
        self._routes = {route.path: route for route in routes if not route.param_convertors}
        self._routes_by_id = {route.path.removesuffix("{id}"): route for route in routes if route.param_convertors}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        if scope["type"] != "http":
            return super().__call__(scope, receive, send)
        path: str = scope["path"]
        route = self._routes.get(path)
        if route is None:
            before, slash, last = path.rpartition("/")
            route = self._routes_by_id.get(before + slash)
            if route is None or not last:
                return self.default(scope, receive, send)
            scope["path_params"] = {"id": last}
        scope["route"] = route
        return route.app(scope, receive, send)


class Public:
    """The methods of one path that need no token. One object holds all of them, so that `Allow` can name them."""

    def __init__(self, **handlers: PublicHandler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        scope["deadline"] = deadline_after()
        await _send(await handler(Request(scope, receive, send)), scope, receive, send)


class Private:
    """The methods of one path that need a token. A handler takes the user, so it cannot be called without one."""

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = _with_head(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _choose(self.handlers, scope)
        scope["deadline"] = deadline = deadline_after()
        tokens, authorization = state_of(scope)["tokens"], _authorization(scope)
        user = tokens.remembered(authorization)
        if user is None:
            user = await tokens.verify(authorization, deadline)
        scope["user"] = user.id  # for the request log
        await _send(await handler(Request(scope, receive, send), user), scope, receive, send)


async def _send(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if len(response.body) >= LARGE_ANSWER_BYTES:
        make_room(scope, len(response.body))
    await response(scope, receive, send)


def _authorization(scope: Scope) -> bytes:
    """The value of the Authorization header. Empty if it is missing or sent twice: a proxy in front may check one of
    the two and the service the other."""
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
