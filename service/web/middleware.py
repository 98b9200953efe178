"""The one middleware between uvicorn and the routes: request id, CORS, the headers of every answer, errors in JSON.

Plain ASGI. Exceptions become answers here, so that they carry the CORS headers: a browser hides from the page every
answer that lacks them.
"""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ApiError, bad_request, internal, unavailable
from service.telemetry.request_log import RequestRecorder

logger = logging.getLogger("service.web.middleware")

METHODS = "GET, POST, PUT, DELETE, OPTIONS"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match"
EXPOSED_HEADERS = b"X-Request-ID, Retry-After, Allow, ETag"
# A page may send the three "accept" and "content-language" headers without asking; asking for them is no error (Fetch).
ALLOWED_HEADERS = {"", "accept", "accept-language", "content-language", *REQUEST_HEADERS.lower().split(", ")}
PREFLIGHT_SECONDS = 7200
CLIENT_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

NO_ANSWER = 499
"""The status in the log if the client left before its answer began: the number that nginx uses."""

RawHeaders = list[tuple[bytes, bytes]]


class Middleware:
    """Wraps the routes. Only pages of `origins` may read an answer."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], recorder: RequestRecorder) -> None:
        self._app = app
        self._recorder = recorder
        every: RawHeaders = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
        self._no_cors = every
        self._cors = {
            origin.encode(): [
                *every,
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", EXPOSED_HEADERS),
            ]
            for origin in origins
        }
        # The prefix makes ids unique across processes and restarts. Counting is ten times cheaper than a random id.
        self._id_prefix = secrets.token_hex(8)
        self._ids = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, headers = self._headers(scope)
        status = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        try:
            if scope["method"] != "OPTIONS" or not await self._preflight(scope, receive, answer):
                await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # The server stops and has waited long enough, as a rule for the rest of a body.
            if status:
                raise
            await unavailable().response()(scope, receive, answer)
        except Exception as error:
            if not isinstance(error, ApiError):
                logger.exception("unforeseen", extra={"request_id": request_id})
                if status:
                    raise
                error = internal()
            await error.response()(scope, receive, answer)
        finally:
            self._recorder.record(scope, request_id, status or NO_ANSWER, time.perf_counter() - began)

    def _headers(self, scope: Scope) -> tuple[str, RawHeaders]:
        """The request's id, and the headers that its answer carries with any status."""
        headers = self._no_cors
        request_id = None
        personal = scope["path"].startswith("/api/auth/")
        for name, value in scope["headers"]:
            if name == b"origin":
                headers = self._cors.get(value, headers)
            elif name == b"authorization":
                personal = True
            elif name == b"x-request-id" and CLIENT_REQUEST_ID.fullmatch(value):
                request_id = value
        if request_id is None:
            request_id = f"{self._id_prefix}{next(self._ids):08x}".encode()
        headers = [*headers, (b"x-request-id", request_id)]
        if personal:
            headers.append((b"cache-control", b"no-store"))
        return request_id.decode(), headers

    async def _preflight(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answers a preflight; returns False for any other OPTIONS request."""
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        method = asked.get(b"access-control-request-method")
        if b"origin" not in asked or method is None:
            return False
        if asked[b"origin"].encode("latin-1") not in self._cors:
            raise bad_request("This origin is not allowed")
        if method not in METHODS.split(", "):
            raise bad_request("This method is not allowed from another origin")
        wanted = asked.get(b"access-control-request-headers", "").lower().split(",")
        if not {name.strip() for name in wanted} <= ALLOWED_HEADERS:
            raise bad_request("These headers are not allowed from another origin")
        allowed = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        await Response(status_code=204, headers=allowed)(scope, receive, send)
        return True
