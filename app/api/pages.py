"""The overview page under /, and Swagger UI under /docs, which works offline."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from app.api.routes import PageRoute

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
INDEX = (STATIC / "index.html").read_text(encoding="utf-8")
DOCS = (STATIC / "docs.html").read_text(encoding="utf-8")
START = (STATIC / "start.js").read_text(encoding="utf-8")  # a file of its own: the policy allows no inline script


@router.get("/")
async def index() -> HTMLResponse:
    return HTMLResponse(INDEX, headers=INDEX_HEADERS)


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
