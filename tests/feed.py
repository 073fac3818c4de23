"""Interviews and their changes as rows, for tests that need many or control the transactions."""

import uuid
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, hash_key
from app.core.database import driver_connection
from app.interviews.changes import count_change, record_changes
from app.interviews.status_update import lock_interview
from app.lifecycle import PublicStatus
from app.models import ApiKey, ChangeType, Interview, Organization

Sessions = async_sessionmaker[AsyncSession]


async def organization_of(sessions: Sessions) -> uuid.UUID:
    """Return the default organization."""
    async with sessions() as session:
        return (await session.scalars(select(Organization.id))).one()


async def another_organization(sessions: Sessions) -> uuid.UUID:
    async with sessions.begin() as session:
        organization = Organization(name="another", company_name="c", instructions_template="i", max_duration=60)
        session.add(organization)
        await session.flush()
        return organization.id


async def add_key(sessions: Sessions, organization_id: uuid.UUID, key: str, scope: Scope = Scope.READ) -> None:
    async with sessions.begin() as session:
        session.add(ApiKey(organization_id=organization_id, name=key, key_hash=hash_key(key), scopes=[scope]))


async def new_interview(sessions: Sessions, organization_id: uuid.UUID) -> uuid.UUID:
    """Add an interview without any change."""
    async with sessions.begin() as session:
        interview = Interview(
            organization_id=organization_id,
            candidate_id="c",
            application_id="a",
            job_post_id="j",
            participant_name="n",
            phone_number="1",
            job_title="t",
            company_name="c",
            instructions="i",
            max_duration=60,
        )
        session.add(interview)
        await session.flush()
        return interview.id


async def record(session: AsyncSession, interview_id: uuid.UUID) -> None:
    """Record a change of the interview in the session's transaction."""
    interview = await lock_interview(session, interview_id)
    assert interview
    now = datetime.now(UTC)
    change = count_change(interview, ChangeType.UPDATED, PublicStatus.READY_TO_JOIN, now)
    await record_changes(await driver_connection(session), [change])
    await session.flush()


async def change(sessions: Sessions, interview_id: uuid.UUID) -> None:
    """Record a change of the interview, and commit it."""
    async with sessions.begin() as session:
        await record(session, interview_id)
