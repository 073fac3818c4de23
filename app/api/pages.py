"""The overview page under /, and Swagger UI under /docs, which works offline."""

from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse

from app.api.dependencies import CurrentServices
from app.api.first_calls import FirstCalls, first_calls, known_key
from app.api.routes import PageRoute
from app.api.services import Services
from app.core.database import transaction
from app.core.errors import DatabaseUnavailable
from app.core.settings import Settings
from app.interviews.demo import has_demo
from app.livekit.local_server import start_command

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SWAGGER = files("fastapi_offline") / "static"
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
ALLOW_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
INDEX_HEADERS = SAFE_HEADERS | {"Content-Security-Policy": f"{ALLOW_NOTHING}; style-src 'unsafe-inline'"}
# Swagger UI uses inline styles and data: images, and calls this service.
SWAGGER_HEADERS = SAFE_HEADERS | {
    "Content-Security-Policy": f"{ALLOW_NOTHING}; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'"
}
CACHED_HEADERS = SAFE_HEADERS | {"Cache-Control": "public, max-age=86400"}

STATIC = Path(__file__).with_name("static")
INDEX = Template((STATIC / "index.html").read_text(encoding="utf-8"))
DOCS = (STATIC / "docs.html").read_text(encoding="utf-8")
START = (STATIC / "start.js").read_text(encoding="utf-8")  # a file of its own: the policy allows no inline script


@router.get("/")
async def index(request: Request, services: CurrentServices) -> HTMLResponse:
    """Show the first calls, with this service's address as the reader's browser has it."""
    settings = services.settings
    shows_demo = settings.is_local and await _has_demo(services)
    calls = first_calls(settings, str(request.base_url).rstrip("/"), has_demo=shows_demo)
    texts = {name: escape(text) for name, text in calls._asdict().items()}
    return HTMLResponse(INDEX.substitute(texts, notes=_notes(settings, calls)), headers=INDEX_HEADERS)


def _notes(settings: Settings, calls: FirstCalls) -> str:
    """Return the paragraphs that only some deployments have."""
    known = known_key(settings)
    notes = [] if known else ["<code>$API_KEY</code> is an API key: <code>interviews keys create</code> makes one."]
    notes += [f"<code>{escape(known)}</code> is the API key of a local start."] if known else []
    notes += [f"To join, a candidate needs an invite:<pre>{escape(calls.invite)}</pre>"] if calls.invite else []
    if command := start_command(settings):
        livekit = f"The LiveKit server of this local start, {escape(settings.livekit_url)}, is started with"
        notes.append(f"{livekit}<pre>{escape(command)}</pre>")
    return "\n".join(f"<div>{note}</div>" for note in notes)


async def _has_demo(services: Services) -> bool:
    try:
        async with transaction(services.sessions) as session:
            return await has_demo(session)
    except DatabaseUnavailable:  # the page says where to look
        return False


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse(DOCS, headers=SWAGGER_HEADERS)


@router.get("/docs/start.js")
async def start_script() -> HTMLResponse:
    return HTMLResponse(START, headers=SAFE_HEADERS, media_type="text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
async def swagger_script() -> FileResponse:
    return FileResponse(str(SWAGGER / "swagger-ui-bundle.js"), headers=CACHED_HEADERS, media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def swagger_styles() -> FileResponse:
    return FileResponse(str(SWAGGER / "swagger-ui.css"), headers=CACHED_HEADERS, media_type="text/css")
