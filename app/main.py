"""create_app(settings, sessions): the routers, the error handlers, the middleware."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

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
    problems,
    schedule,
    stream,
    token,
    told,
    webhook_endpoints,
    webhooks,
)
from app.api.request_log import RequestLog
from app.api.secure_headers import SecureHeaders
from app.config import Settings
from app.events import Recorded, RoomEvent, gathering
from app.gather import Gather
from app.lifecycle import Waits
from app.livekit import Signer
from app.stream.hub import Hub

DESCRIPTION = """\
Candidates, AI interviewers and recruiters in one LiveKit room, and a status that is true.

Errors are problem documents (RFC 9457) with a stable `code`, a sentence that tells what to do, and the `requestId`
under which the logs tell more. At an address that is none every call answers 404 `not_found`, with another method 405
`method_not_allowed` and `Allow`. Bodies are JSON, whatever their content type.
"""
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


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
    recording = gathering(sessions, waits=waits_of(settings))
    app = FastAPI(
        title="Interviews",
        version="0.1.0",
        summary="Interviews on LiveKit that a hiring platform integrates in an afternoon",
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        servers=openapi.SERVERS,
        webhooks=told.webhooks(),
        docs_url=None,  # app.api.pages has them, from files of our own: FastAPI's page loads them from the internet
        redoc_url=None,
        lifespan=_running(lifespan or nullcontext, recording),
        redirect_slashes=False,  # LiveKit follows no redirect: an event sent to the address with a slash would be lost
    )
    app.state.settings = settings
    app.state.sessions = sessions
    app.state.signer = signer_of(settings)
    app.state.waits = waits_of(settings)
    app.state.recording = recording
    app.state.hub = hub or Hub(sessions)
    for module in (  # the busiest first: they are tried one after the other, which took a webhook 75 us
        join,
        webhooks,
        token,
        stream,
        find,
        schedule,
        interviews,
        calls,
        invites,
        organization,
        webhook_endpoints,
        health,
        pages,
    ):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app)
    app.add_middleware(RequestLog)
    app.add_middleware(  # around the log: a page may read an unexpected error's requestId too
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=LOOPBACK_ORIGIN if settings.is_local else None,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["X-Request-Id", "Retry-After", "ETag", "Location", "Idempotent-Replayed"],
    )
    app.add_middleware(SecureHeaders, https_only=settings.environment == "production")
    return app


def _running(lifespan: Lifespan, recording: Gather[RoomEvent, Recorded]) -> Callable[[FastAPI], _Running]:
    """Return what FastAPI runs from start to stop: at its end, webhooks that are being recorded are recorded."""

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            yield
            await recording.finish()

    return run


def signer_of(settings: Settings) -> Signer:
    return Signer(
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        agent_name=settings.agent_name,
        grace=waits_of(settings).grace,
        client_metadata_updates=settings.client_metadata_updates,
    )


def waits_of(settings: Settings) -> Waits:
    return Waits(
        grace=timedelta(seconds=settings.candidate_grace),
        agent=timedelta(seconds=settings.agent_wait),
        dispatch=timedelta(seconds=settings.dispatch_after) if settings.agent_name else None,
        token=timedelta(seconds=settings.token_wait),
        waited=timedelta(seconds=settings.candidate_waited),
        goodbye=timedelta(seconds=settings.goodbye),
    )
