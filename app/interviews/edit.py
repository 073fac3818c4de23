"""Edit an interview that has not ended."""

import json
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from pydantic.alias_generators import to_camel
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import flag_modified

from app.core.database import driver_connection
from app.core.errors import InterviewOver, PayloadInvalid, PreconditionFailed, TokenIssued
from app.core.settings import JoinPolicy, stricter
from app.interviews.join_policy import check_phone_number
from app.interviews.schedule import check_tokens, rendered_instructions
from app.interviews.status_update import keep_joins_out, update_statuses
from app.interviews.stored_facts import TOKEN_ISSUED
from app.lifecycle import Timeouts, public_status
from app.livekit.access_tokens import Signer
from app.models import Interview, JoinRequest, Organization, TimelineEntry


async def edit(
    session: AsyncSession,
    *,
    interview: Interview,
    changes: Mapping[str, Any],
    expected: Set[int] | None,
    now: datetime,
    timeouts: Timeouts,
    signer: Signer,
    policy: JoinPolicy,
) -> None:
    """Set columns of the locked interview; equal values write nothing.

    `expected` are the sequences that the caller accepts (None: any). `policy` is the deployment's. Raises
    InterviewOver, PreconditionFailed, TokenIssued, TokenTooLarge, and PayloadInvalid for its times.
    """
    if interview.status.is_terminal:
        raise InterviewOver("It has ended and can't be edited.", interviewStatus=interview.status)
    if expected is not None and interview.sequence not in expected:
        raise PreconditionFailed(sequence=interview.sequence)
    changed = await _changed(session, interview, changes)
    if not changed:
        return
    await _check(session, interview, changed, now)
    before = public_status(interview.status, opens_at=interview.opens_at, now=now)
    organization = await session.get_one(Organization, interview.organization_id)
    if "phone_number" in changed:
        check_phone_number(changed["phone_number"], policy=stricter(policy, organization.join_policy))
    is_rendered = interview.instructions == rendered_instructions(interview, organization)
    for name, value in changed.items():
        setattr(interview, name, value)
        flag_modified(interview, name)  # SQLAlchemy takes true and 1 for equal
    if "max_duration" in changed:
        interview.told = None  # the time left has to be announced again
    if is_rendered and "instructions" not in changes:
        instructions = rendered_instructions(interview, organization)
        if interview.instructions != instructions:
            changed["instructions"] = interview.instructions = instructions
    check_tokens({"instructions": interview}, signer=signer, now=now)
    detail = {"fields": sorted(map(to_camel, changed))}  # without values, which may be personal data
    session.add(TimelineEntry.about(interview, kind="call", name="edited", detail=detail))
    await update_statuses(await driver_connection(session), [interview], now=now, timeouts=timeouts, edited_from=before)


async def _changed(session: AsyncSession, interview: Interview, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the stored ones."""
    if "context" in changes:
        await session.refresh(interview, ["context"])
    return {name: value for name, value in changes.items() if not _same(getattr(interview, name), value)}


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON, because in Python True == 1."""
    if isinstance(one, datetime) or isinstance(other, datetime):
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


async def _check(session: AsyncSession, interview: Interview, changed: Mapping[str, Any], now: datetime) -> None:
    if "candidate_id" in changed:
        await keep_joins_out(session, interview)
        issued = exists().where(JoinRequest.interview_id == interview.id, JoinRequest.answer == TOKEN_ISSUED)
        if await session.scalar(select(issued)):
            raise TokenIssued
    opens_at = changed.get("opens_at", interview.opens_at)
    closes_at = changed.get("closes_at", interview.closes_at)
    # Even once it has started: if the window had closed before the candidate joined, the attempt would be undone.
    if "closes_at" in changed and closes_at and closes_at <= now:
        raise _invalid("closesAt", "must be in the future")
    if opens_at and closes_at and closes_at <= opens_at:
        if "closes_at" in changed:
            raise _invalid("closesAt", "must be after opensAt")
        if "opens_at" in changed:
            raise _invalid("opensAt", "must be before closesAt")


def _invalid(field: str, message: str) -> PayloadInvalid:
    return PayloadInvalid(errors=[{"field": field, "message": message}])
