"""The service on one screen: what it serves, in what layer, and what it holds while it runs."""

import contextlib
import gc
from collections.abc import AsyncIterator

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service import docs, health, log, tasks, users
from service.attempts import Attempts
from service.auth import Tokens
from service.better_auth import BetterAuthTokens
from service.config import Settings, SettingsError, connection, load_settings
from service.database import Database
from service.edge import Edge
from service.errors import not_found
from service.passwords import Passwords
from service.routing import Private, Public
from service.schema import refuse_old_schema
from service.state import State
from service.watch import Watch

# The busiest first: Starlette tries them in order.
ROUTES = [
    Route("/api/tasks",       Private(GET=tasks.list_tasks, POST=tasks.create_task)),
    Route("/api/tasks/{id}",  Private(GET=tasks.get_task, PUT=tasks.update_task, DELETE=tasks.delete_task)),
    Route("/api/auth/signup", Public(POST=users.sign_up)),
    Route("/api/auth/login",  Public(POST=users.log_in)),
    Route("/health",          Public(GET=health.health)),
    Route("/livez",           Public(GET=health.livez)),
    Route("/openapi.json",    Public(GET=docs.openapi)),
    Route("/docs",            Public(GET=docs.docs)),
]  # fmt: skip


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application. Without settings it reads the environment; bad ones end the process with one sentence."""
    try:
        settings = settings or load_settings()
        url, secret = connection(settings)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    takers = [log.write] if settings.log_level in ("debug", "info") else []
    watch = Watch(takers)

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[State]:
        database = Database(url)
        await refuse_old_schema(database)
        passwords = Passwords()
        if settings.metrics_port:
            from service import metrics  # not above: it counts in files from its import on

            metrics.sample(database, passwords)
            takers.append(metrics.count)
        # What is there now stays: nothing that a collection should look through again.
        gc.collect()
        gc.freeze()
        hours, issuer = settings.jwt_expiration_hours, settings.better_auth_url
        yield {
            "attempts": Attempts(database, settings.login_failure_limit),
            "database": database,
            "passwords": passwords,
            "tokens": BetterAuthTokens(secret, hours, issuer) if issuer else Tokens(secret, hours),
        }
        watch.tell()
        passwords.close()
        await database.close()

    router = Router(ROUTES, redirect_slashes=False, default=_unknown_path, lifespan=lifespan)
    return Edge(router, settings.frontend_url, watch)


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    raise not_found()
