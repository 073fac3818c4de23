"""Scheduling: makes an interview, and the organization that it belongs to by default."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import TokenTooLarge
from app.interviews.admission import check_phone_number
from app.interviews.changes import ChangeType, record_change
from app.interviews.join import access_token
from app.lifecycle import Status
from app.livekit import LARGEST_TOKEN, Signer
from app.models import Interview, Organization, TimelineEntry
from app.policy import JoinPolicy, stricter

DEFAULT_ORGANIZATION = "default"
DEFAULT_PARTICIPANT_NAME = "Candidate"
DEFAULT_COMPANY_NAME = "the hiring company"
DEFAULT_MAX_DURATION = 1800  # seconds
# The seed's sentence.
DEFAULT_INSTRUCTIONS = (
    "Welcome to your interview for {jobTitle} at {companyName}. "
    "Please speak clearly and answer all questions to the best of your ability."
)
PLACEHOLDER = re.compile(r"\{(jobTitle|companyName|participantName)\}")
LAST_ATTEMPT = 9999  # of which no token may be too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a platform says of a new interview; None is the organization's default. max_duration is in seconds."""

    candidate_id: str
    application_id: str
    job_post_id: str
    job_title: str
    phone_number: str
    participant_name: str = DEFAULT_PARTICIPANT_NAME
    company_name: str | None = None
    instructions: str | None = None
    max_duration: int | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    interview_id: uuid.UUID | None = None
    """Our random one, unless it is the demo's."""


async def schedule(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    plan: Plan,
    now: datetime,
    signer: Signer,
    policy: JoinPolicy = JoinPolicy.OPEN,
) -> Interview:
    """Make an interview. `policy` is the deployment's.

    Raises TokenTooLarge if its texts do not fit into an access token, PayloadInvalid for a phone number that the join
    policy could not compare.
    """
    organization = await session.get_one(Organization, organization_id)
    check_phone_number(plan.phone_number, policy=stricter(policy, organization.join_policy))
    company_name = plan.company_name or organization.company_name
    texts = {
        "jobTitle": plan.job_title,
        "companyName": company_name,
        "participantName": plan.participant_name,
    }
    interview = Interview(
        id=plan.interview_id or uuid.uuid4(),
        organization_id=organization_id,
        candidate_id=plan.candidate_id,
        application_id=plan.application_id,
        job_post_id=plan.job_post_id,
        participant_name=plan.participant_name,
        phone_number=plan.phone_number,
        job_title=plan.job_title,
        company_name=company_name,
        instructions=plan.instructions or render(organization.instructions_template, texts),
        max_duration=plan.max_duration or organization.max_duration,
        opens_at=plan.opens_at,
        closes_at=plan.closes_at,
        sequence=0,
        attempt=1,
        status=Status.READY_TO_JOIN,
        next_deadline_at=plan.closes_at,
        settled_at=now,
        created_at=now,
        updated_at=now,
    )
    check_token(interview, signer=signer, now=now)
    session.add(interview)
    await session.flush()
    session.add(TimelineEntry.about(interview, kind="call", name="scheduled", detail={}))
    await record_change(session, interview=interview, type_=ChangeType.SCHEDULED, previous=None, now=now)
    await session.flush()
    await session.refresh(interview)
    return interview


def render(template: str, texts: dict[str, str]) -> str:
    """Return the template with its {placeholders} filled in, in one pass: a job title is never read as a template."""
    return PLACEHOLDER.sub(lambda match: texts[match[1]], template)


def check_token(interview: Interview, *, signer: Signer, now: datetime) -> None:
    """Raise TokenTooLarge if any token of the interview could be larger than a proxy lets through."""
    longest = max(Status, key=len)
    size = len(access_token(interview, attempt=LAST_ATTEMPT, status=longest, signer=signer, now=now))
    if size > LARGEST_TOKEN:
        raise TokenTooLarge(
            f"The interview's texts give an access token of {size} bytes, {LARGEST_TOKEN} are allowed. "
            f"Shorten the instructions by some {(size - LARGEST_TOKEN) * 3 // 4 + 1} bytes of UTF-8."
        )


async def ensure_default_organization(session: AsyncSession) -> uuid.UUID:
    """Return the id of the organization that owns the bootstrap key, made if need be, also by two processes at once."""
    await session.execute(
        insert(Organization)
        .values(
            name=DEFAULT_ORGANIZATION,
            company_name=DEFAULT_COMPANY_NAME,
            instructions_template=DEFAULT_INSTRUCTIONS,
            max_duration=DEFAULT_MAX_DURATION,
        )
        .on_conflict_do_nothing(index_elements=[Organization.name])
    )
    found = await session.scalars(select(Organization.id).where(Organization.name == DEFAULT_ORGANIZATION))
    return found.one()
