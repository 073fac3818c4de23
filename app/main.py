"""create_app(settings, sessions): the routers, the error handlers, the middleware."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.types import ASGIApp

from app import __version__
from app.api import (
    actions,
    checkpoints,
    health,
    interviews,
    invites,
    join,
    lists,
    livekit_webhook,
    openapi,
    organization,
    pages,
    personal_data,
    problems,
    schedule,
    stream,
    token,
    transcript,
    webhook_endpoints,
    webhook_events,
)
from app.api.local_hosts import LocalHosts
from app.api.middleware import ONE_YEAR, SECURE, Cors, RequestMiddleware, words_of
from app.api.rate_limits import HEADERS
from app.api.routes import FastRoute, FastRoutes
from app.api.services import Services
from app.auth.last_use import LastUsed
from app.core.batching import Batcher
from app.core.rate_limits import RateLimits, rate_limits_of
from app.core.settings import Settings
from app.interviews.join import JoinConfig, join_batcher
from app.interviews.livekit_events import event_batcher
from app.interviews.transcript_append import append_batcher
from app.livekit.access_tokens import signer_of
from app.stream.hub import Hub

DESCRIPTION = """\
Brings candidates, AI interviewers and recruiters into one LiveKit room, and reports each interview's status.

Errors are problem documents (RFC 9457) with a stable `code`, a `detail` that says what to do, and the `requestId` to
search for in the logs. Unknown query parameters and unknown fields of a body return 422 `payload_invalid`, which names
what was probably meant. Unknown paths return 404 `not_found`; wrong methods return 405 `method_not_allowed` with an
`Allow` header. Every GET call answers HEAD too. Bodies are parsed as JSON, whatever their content type. A malformed
HTTP request returns 400 `request_invalid`, more than 32 KiB of path and headers 431 `headers_too_large`; both close the
connection.
A local start answers 421 `host_not_allowed` under any name but a loopback one.
"""
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
ROUTERS = (
    join.router,
    livekit_webhook.router,
    token.router,
    stream.router,
    lists.router,
    schedule.router,
    interviews.router,
    actions.router,
    personal_data.router,
    invites.router,
    transcript.fast_router,
    transcript.router,
    checkpoints.router,
    organization.router,
    webhook_endpoints.router,
    health.router,
    pages.router,
)


_Running = AbstractAsyncContextManager[None]
Lifespan = Callable[[], _Running]


def create_app(
    settings: Settings,
    sessions: async_sessionmaker[AsyncSession],
    *,
    lifespan: Lifespan | None = None,
    hub: Hub | None = None,
) -> FastAPI:
    """Return the service. `lifespan` runs beside the server. A hub that is not running polls for changes."""
    services = build_services(settings, sessions, hub=hub or Hub(sessions))
    app = FastAPI(
        title="Interviews",
        version=__version__,
        summary="Interviews on LiveKit that a hiring platform integrates in an afternoon",
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        servers=openapi.SERVERS,
        # include_router would build each route a second time for each app
        routes=[route for router in ROUTERS for route in router.routes],
        webhooks=webhook_events.webhooks(),
        docs_url=None,  # app.api.pages serves it from files: FastAPI's page loads scripts from the internet
        redoc_url=None,
        lifespan=_running(lifespan or nullcontext, services.joins, services.livekit_events, services.appends),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # costs each request
        redirect_slashes=False,  # LiveKit follows no redirect: an event sent to the path with a slash would be lost
    )
    app.state.services = services
    problems.install(app)
    openapi.install(app)
    app.middleware_stack = _around(app.build_middleware_stack(), settings, services.rate_limits)
    return app


def _around(app: ASGIApp, settings: Settings, limits: RateLimits) -> ASGIApp:
    """Return the app in our middleware, outside FastAPI's: the fast routes run through nothing else."""
    fast_routes = [route for router in ROUTERS for route in router.routes if isinstance(route, FastRoute)]
    app = FastRoutes(app, routes=fast_routes)
    app = LocalHosts(app, settings) if settings.is_local else app
    secure = (*SECURE, ONE_YEAR) if settings.environment == "production" else SECURE
    words = frozenset().union(*map(words_of, ROUTERS))
    app = RequestMiddleware(app, secure=secure, by_address=limits.address, words=words)
    return Cors(  # outermost: a page may read an unexpected error's requestId too
        app,
        secure=secure,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=LOOPBACK_ORIGIN if settings.is_local else None,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        allow_private_network=True,  # a page may be elsewhere, the service on a laptop
        expose_headers=["X-Request-Id", "Retry-After", "ETag", "Location", "Idempotent-Replayed", *HEADERS],
    )


def build_services(settings: Settings, sessions: async_sessionmaker[AsyncSession], *, hub: Hub) -> Services:
    signer, timeouts = signer_of(settings), settings.timeouts
    config = JoinConfig(
        policy=settings.deployment_policy,
        signer=signer,
        timeouts=timeouts,
        address_key=settings.livekit_api_secret.get_secret_value().encode(),
    )
    return Services(
        settings=settings,
        sessions=sessions,
        signer=signer,
        timeouts=timeouts,
        joins=join_batcher(sessions, config),
        livekit_events=event_batcher(sessions, timeouts=timeouts, agent_name=settings.agent_name),
        appends=append_batcher(sessions, late=timeouts.amend_window),
        hub=hub,
        last_used=LastUsed(sessions),
        rate_limits=rate_limits_of(
            per_address=settings.rate_limit_per_address,
            per_key=settings.rate_limit_per_key,
            storage_url=settings.rate_limit_storage_url.get_secret_value(),
        ),
        clock=partial(datetime.now, UTC),
    )


def _running(lifespan: Lifespan, *batchers: Batcher[Any, Any]) -> Callable[[FastAPI], _Running]:
    """Return FastAPI's lifespan. At its end the batches in progress are finished."""

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            yield
            for batcher in batchers:
                await batcher.finish()

    return run
