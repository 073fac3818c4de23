"""create_app(settings, sessions): the routers, the error handlers, the middleware."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.types import ASGIApp

from app.api import (
    calls,
    find,
    health,
    interviews,
    invites,
    join,
    openapi,
    organization,
    pages,
    personal_data,
    problems,
    schedule,
    stream,
    token,
    told,
    webhook_endpoints,
    webhooks,
)
from app.api.cors import Cors
from app.api.edge import ONE_YEAR, SECURE, Edge, words_of
from app.api.plain import PlainRoute, PlainRoutes
from app.api.rate_limits import HEADERS
from app.config import Settings
from app.deployment import signer_of, waits_of
from app.events import gathering
from app.gather import Gather
from app.interviews.join import Terms, joining
from app.last_used import LastUsed
from app.rate_limits import RateLimits, rate_limits_of
from app.stream.hub import Hub

DESCRIPTION = """\
Candidates, AI interviewers and recruiters in one LiveKit room, and a status that is true.

Errors are problem documents (RFC 9457) with a stable `code`, a sentence that tells what to do, and the `requestId`
under which the logs tell more. At an address that is none every call answers 404 `not_found`, with another method 405
`method_not_allowed` and `Allow`. Bodies are JSON, whatever their content type. What is no HTTP/1.1 request is answered
400 `request_invalid`, an address and headers of more than 32 KiB 431 `headers_too_large`, and the connection closed.
"""
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
ROUTERS = (
    join.router,
    webhooks.router,
    token.router,
    stream.router,
    find.router,
    schedule.router,
    interviews.router,
    calls.router,
    invites.router,
    personal_data.router,
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
    """Return the service. `sessions` is the database; `lifespan` is what runs beside the server, from start to stop.

    Streams are served by the hub; one that nobody runs polls, and hears no notifications.
    """
    join_gathered = joining(sessions, terms_of(settings))
    record_gathered = gathering(sessions, waits=waits_of(settings))
    app = FastAPI(
        title="Interviews",
        version="0.1.0",
        summary="Interviews on LiveKit that a hiring platform integrates in an afternoon",
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        servers=openapi.SERVERS,
        # include_router would build each route a second time for each app
        routes=[route for router in ROUTERS for route in router.routes],
        webhooks=told.webhooks(),
        docs_url=None,  # app.api.pages has them, from files of our own: FastAPI's page loads them from the internet
        redoc_url=None,
        lifespan=_running(lifespan or nullcontext, join_gathered, record_gathered),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # looked for anew by each request
        redirect_slashes=False,  # LiveKit follows no redirect: an event sent to the address with a slash would be lost
    )
    app.state.settings = settings
    app.state.sessions = sessions
    app.state.clock = partial(datetime.now, UTC)
    app.state.signer = signer_of(settings)
    app.state.waits = waits_of(settings)
    app.state.join = join_gathered
    app.state.record = record_gathered
    app.state.hub = hub or Hub(sessions)
    app.state.last_used = LastUsed(sessions)
    app.state.rate_limits = limits_of(settings)
    problems.install(app)
    openapi.install(app)
    app.middleware_stack = _around(app.build_middleware_stack(), settings, app.state.rate_limits)
    return app


def _around(app: ASGIApp, settings: Settings, limits: RateLimits) -> ASGIApp:
    """Return the app within our own layers, which are all that the hottest calls run through."""
    plain = [route for router in ROUTERS for route in router.routes if isinstance(route, PlainRoute)]
    app = PlainRoutes(app, routes=plain)
    secure = (*SECURE, ONE_YEAR) if settings.environment == "production" else SECURE
    app = Edge(
        app,
        secure=secure,
        by_address=limits.address,
        words=frozenset().union(*map(words_of, ROUTERS)),
    )
    return Cors(  # around the edge: a page may read an unexpected error's requestId too
        app,
        secure=secure,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=LOOPBACK_ORIGIN if settings.is_local else None,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["X-Request-Id", "Retry-After", "ETag", "Location", "Idempotent-Replayed", *HEADERS],
    )


def terms_of(settings: Settings) -> Terms:
    return Terms(
        policy=settings.deployment_policy,
        signer=signer_of(settings),
        waits=waits_of(settings),
        address_key=settings.livekit_api_secret.get_secret_value().encode(),
    )


def limits_of(settings: Settings) -> RateLimits:
    return rate_limits_of(
        per_address=settings.rate_limit_per_address,
        per_key=settings.rate_limit_per_key,
        storage_url=settings.rate_limit_storage_url.get_secret_value(),
    )


def _running(lifespan: Lifespan, *gathered: Gather[Any, Any]) -> Callable[[FastAPI], _Running]:
    """Return what FastAPI runs from start to stop: at its end, what is under way for callers is finished."""

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            yield
            for each in gathered:
                await each.finish()

    return run
