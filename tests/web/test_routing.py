"""DictRouter finds the same routes and path parameters as Starlette's own router."""

from typing import Any

import pytest
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from service.app import ROUTES
from service.web.routing import DictRouter

PATHS = [
    *(route.path for route in ROUTES),
    *(route.path + "/" for route in ROUTES),
    "/",
    "",
    "/api",
    "/api/tasks/6f1c0fd4-7a4f-4d68-9f0e-6a2ad2a7a1ce",
    "/api/tasks/6f1c0fd4/extra",
    "/api/tasks//x",
    "//api/tasks",
    "/api/tasks/ ",
    "/api/tasks/é\n",
    "/API/TASKS",
    "/health/x",
    "x/api/tasks/y",
]


@pytest.mark.anyio
@pytest.mark.parametrize("path", PATHS)
async def test_dict_router_finds_the_same_route_as_starlette(path: str) -> None:
    found: list[tuple[str | None, Any]] = []

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            route = scope.get("route")
            found.append((route.path if route else None, scope.get("path_params", {})))

    routes = [Route(route.path, Endpoint()) for route in ROUTES]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    matches = [(route.path, *route.matches(scope)) for route in ROUTES]
    expected: list[tuple[str | None, Any]] = [
        (path, child["path_params"]) for path, match, child in matches if match == Match.FULL
    ]
    router = DictRouter(routes, redirect_slashes=False, default=Endpoint())

    async def unused(*_: Any) -> Any:
        raise AssertionError

    await router(scope, unused, unused)
    assert found == (expected or [(None, {})])


def test_every_path_parameter_is_last_and_named_id() -> None:
    assert all(
        route.path.endswith("/{id}") and route.path.count("{") == 1 for route in ROUTES if route.param_convertors
    )
