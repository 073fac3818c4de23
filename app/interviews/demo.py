"""The demo interview of a local start: the seed's own example, ready to join."""

import uuid
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.schedule import InterviewSpec, schedule
from app.interviews.status_update import lock_interview, open_next_attempt
from app.livekit.access_tokens import Signer
from app.models import Interview

DEMO_ID = uuid.UUID("c6aec8f5-592b-4b90-b7fd-a6a6404b31f9")
DEMO = InterviewSpec(
    interview_id=DEMO_ID,
    candidate_id="59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    application_id="1e526d64-f4e5-4353-a69f-9642959e8236",
    job_post_id="306bfccd-5030-46bb-b468-e5027a073b4a",
    job_title="Senior Backend Developer - Fintech",
    company_name="MENA Bank",
    phone_number="966509876543",
    max_duration=1800,
)


async def ensure_demo(session: AsyncSession, *, organization_id: uuid.UUID, now: datetime, signer: Signer) -> bool:
    """Add the demo interview to an empty database, or reopen it when it is over. Return whether it can be joined."""
    demo = await lock_interview(session, DEMO_ID)
    if demo is None:
        if await session.scalar(select(exists().where(Interview.id.is_not(None)))):
            return False
        await schedule(session, organization_id=organization_id, specs=[DEMO], now=now, signer=signer)
    elif demo.personal_data_erased_at:
        return False
    elif demo.status.is_terminal:
        await open_next_attempt(session, interview=demo, now=now, why="a local start reopens the demo interview")
    return True


async def has_demo(session: AsyncSession) -> bool:
    """Return whether the demo interview is there; its end does not matter, as each local start reopens it."""
    found = select(Interview.id).where(Interview.id == DEMO_ID, Interview.personal_data_erased_at.is_(None))
    return await session.scalar(found) is not None
