"""Whether the process lives, and whether its database answers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.errors import RETRY_AFTER_SECONDS, ApiError
from service.postgres.pool import deadline_after
from service.postgres.queries import SQL
from service.state import State, state_of

HEALTH_SECONDS = 1.8


async def livez(request: Request[State]) -> Response:
    return JSONResponse({"status": "alive"})


async def health(request: Request[State]) -> Response:
    try:
        await state_of(request.scope)["pool"].fetch_one(SQL.ping, deadline=deadline_after(HEALTH_SECONDS))
    except ApiError:
        return JSONResponse({"status": "unhealthy"}, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    return JSONResponse({"status": "healthy"})
