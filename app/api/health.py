"""Health checks and metrics."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.dependencies import Session
from app.api.problems import error_responses
from app.api.routes import ApiRoute
from app.api.schemas import Health
from app.core.errors import SchemaBehind
from app.core.metrics import exposition
from app.core.schema import check_schema

router = APIRouter(route_class=ApiRoute, tags=["operator"])


@router.get("/health/live", operation_id="isLive", summary="Check that the process is alive")
async def live() -> Health:
    return Health()


@router.get(
    "/health/ready",
    operation_id="isReady",
    summary="Check that the database responds and its schema is up to date",
    responses=error_responses(SchemaBehind),
)
async def ready(session: Session) -> Health:
    await check_schema(session)
    return Health()


@router.get("/metrics", operation_id="getMetrics", summary="Get Prometheus metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)
