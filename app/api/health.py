"""What an operator's machinery calls."""

from fastapi import APIRouter

from app.api.deps import Session
from app.api.problems import answers
from app.api.schemas import Health
from app.errors import DatabaseUnavailable, SchemaBehind
from app.schema import check_schema

router = APIRouter(prefix="/health", tags=["operator"])


@router.get("/live", operation_id="isLive", summary="The process answers")
async def live() -> Health:
    return Health()


@router.get(
    "/ready",
    operation_id="isReady",
    summary="The database answers, and its schema is not behind the code",
    responses=answers(DatabaseUnavailable, SchemaBehind),
)
async def ready(session: Session) -> Health:
    await check_schema(session)
    return Health()
