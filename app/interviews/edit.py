"""Editing: a platform changes the details of an interview that is not over."""

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
from app.core.policy import JoinPolicy, stricter
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
    given: Mapping[str, Any],
    expected: Set[int] | None,
    now: datetime,
    timeouts: Timeouts,
    signer: Signer,
    policy: JoinPolicy,
) -> None:
    """Change the locked interview's columns to what is given; what changes nothing writes nothing.

    `expected` are the sequences that the caller has seen it with; None: whichever it is. `policy` is the deployment's.
    Raises InterviewOver, PreconditionFailed, TokenIssued, TokenTooLarge, and PayloadInvalid for its times.
    """
    if interview.status.is_terminal:
        raise InterviewOver("It has ended, and stays as it was.", interviewStatus=interview.status)
    if expected is not None and interview.sequence not in expected:
        raise PreconditionFailed(sequence=interview.sequence)
    changed = await _changed(session, interview, given)
    if not changed:
        return
    await _check(session, interview, changed, now)
    before = public_status(interview.status, opens_at=interview.opens_at, now=now)
    organization = await session.get_one(Organization, interview.organization_id)
    if "phone_number" in changed:
        check_phone_number(changed["phone_number"], policy=stricter(policy, organization.join_policy))
    follows = "instructions" not in given and interview.instructions == rendered_instructions(interview, organization)
    _apply(interview, changed)
    if follows and interview.instructions != (again := rendered_instructions(interview, organization)):
        changed["instructions"] = interview.instructions = again
    check_tokens({"instructions": interview}, signer=signer, now=now)
    # The names only: the values may be names and numbers of people.
    detail = {"fields": sorted(map(to_camel, changed))}
    session.add(TimelineEntry.about(interview, kind="call", name="edited", detail=detail))
    await update_statuses(await driver_connection(session), [interview], now=now, timeouts=timeouts, edited_from=before)


def _apply(interview: Interview, changed: Mapping[str, Any]) -> None:
    for name, value in changed.items():
        setattr(interview, name, value)
        flag_modified(interview, name)  # to SQLAlchemy, too, true is 1
    if "max_duration" in changed:
        interview.told = None  # the people in the room were told of another end


async def _changed(session: AsyncSession, interview: Interview, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the given is another than before."""
    if "context" in given:
        await session.refresh(interview, ["context"])
    return {name: value for name, value in given.items() if not _same(getattr(interview, name), value)}


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON what may be JSON: to Python true is 1."""
    if isinstance(one, datetime) or isinstance(other, datetime):
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


async def _check(session: AsyncSession, interview: Interview, changed: Mapping[str, Any], now: datetime) -> None:
    if "candidate_id" in changed and await _token_was_issued(session, interview):
        raise TokenIssued
    opens_at = changed.get("opens_at", interview.opens_at)
    closes_at = changed.get("closes_at", interview.closes_at)
    # Even once it has started: with a window that was over before the candidate came, the attempt would be undone.
    if "closes_at" in changed and closes_at and closes_at <= now:
        raise _wrong("closesAt", "must be in the future")
    if opens_at and closes_at and closes_at <= opens_at:
        if "closes_at" in changed:
            raise _wrong("closesAt", "must be after opensAt")
        if "opens_at" in changed:
            raise _wrong("opensAt", "must be before closesAt")


def _wrong(field: str, message: str) -> PayloadInvalid:
    return PayloadInvalid(errors=[{"field": field, "message": message}])


async def _token_was_issued(session: AsyncSession, interview: Interview) -> bool:
    """Tell whether a token was issued; none is until this is committed."""
    await keep_joins_out(session, interview)
    issued = exists().where(JoinRequest.interview_id == interview.id, JoinRequest.answer == TOKEN_ISSUED)
    return bool(await session.scalar(select(issued)))
