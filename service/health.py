"""Whether the process lives, and whether its database answers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.errors import RETRY_AFTER_SECONDS
from service.state import State, state_of


async def livez(request: Request[State]) -> Response:
    return JSONResponse({"status": "alive"})


async def health(request: Request[State]) -> Response:
    if await state_of(request.scope)["probe"].database_answers():
        return JSONResponse({"status": "healthy"})
    return JSONResponse({"status": "unhealthy"}, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})
