"""The application: its routes, its middleware, and what it holds while it runs."""

import contextlib
import gc
from collections.abc import AsyncIterator

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service import docs, health, tasks, users
from service.auth.better_auth import BetterAuthTokens
from service.auth.login_limits import LoginLimits
from service.auth.passwords import Passwords
from service.auth.token_cutoffs import TokenCutoffs
from service.auth.tokens import Tokens
from service.body_memory import BodyMemory
from service.config import Settings, connection
from service.errors import not_found
from service.postgres.health_probe import DatabaseProbe
from service.postgres.pool import Pool
from service.state import State
from service.task_limit import TaskLimit
from service.telemetry import log
from service.telemetry.request_log import RequestRecorder, Sink
from service.web import idempotency
from service.web.middleware import Middleware
from service.web.routing import DictRouter, Private, Public

# `{id}` is the one parameter that DictRouter knows.
ROUTES = [
    Route("/api/tasks",       Private(GET=tasks.list_tasks, HEAD=tasks.head_tasks, POST=tasks.create_task)),
    Route("/api/tasks/{id}",  Private(GET=tasks.get_task, PUT=tasks.update_task, DELETE=tasks.delete_task)),
    Route("/api/auth/signup", Public(POST=users.sign_up)),
    Route("/api/auth/login",  Public(POST=users.log_in)),
    Route("/health",          Public(GET=health.health)),
    Route("/livez",           Public(GET=health.livez)),
    Route("/openapi.json",    Public(GET=docs.openapi)),
    Route("/docs",            Public(GET=docs.docs)),
]  # fmt: skip


def create_app(settings: Settings) -> ASGIApp:
    """The ASGI application. It needs a database with all migrations, which the command line checks before the start;
    raises SettingsError where the database's URL or the secret is missing."""
    connection(settings)
    sinks: list[Sink] = [log.write] if settings.log_level in ("debug", "info") else []
    if settings.metrics_port:
        from service.telemetry import metrics  # not above: prometheus_client reads its environment when imported

        sinks.append(metrics.count)
    recorder = RequestRecorder(sinks)

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[State]:
        state = _make_state(settings)
        if settings.metrics_port:
            pool, passwords = state["pool"], state["passwords"]
            metrics.start_gauge_sampling(
                {
                    metrics.IN_USE: lambda: len(pool.busy),
                    metrics.WAITING: lambda: len(pool.waiting),
                    metrics.HASHING: lambda: passwords.queue,
                }
            )
        # Objects that exist now live until the end: no garbage collection needs to look at them again.
        gc.collect()
        gc.freeze()
        yield state
        recorder.flush()
        state["passwords"].close()
        await state["probe"].close()
        await state["pool"].close()

    router = DictRouter(ROUTES, redirect_slashes=False, default=_unknown_path, lifespan=lifespan)
    return Middleware(router, settings.frontend_url, recorder)


def _make_state(settings: Settings) -> State:
    """What the requests of one worker share; to be called inside the running event loop."""
    url, secret = connection(settings)
    pool = Pool(url)
    arguments = secret, settings.jwt_expiration_hours, TokenCutoffs(pool)
    issuer = settings.better_auth_url
    return {
        "body_memory": BodyMemory(),
        "idempotency_secret": idempotency.derive_secret(secret),
        "login_limits": LoginLimits(pool, settings.login_failure_limit),
        "passwords": Passwords(),
        "pool": pool,
        "probe": DatabaseProbe(url),
        "task_limit": TaskLimit(settings.task_limit),
        "tokens": BetterAuthTokens(*arguments, issuer) if issuer else Tokens(*arguments),
    }


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    raise not_found()
