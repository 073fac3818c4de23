"""Schedule interviews, and create the organizations that they belong to."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver_connection
from app.core.errors import TokenTooLarge
from app.core.settings import JoinPolicy, stricter
from app.interviews.changes import count_change, record_changes
from app.interviews.join_policy import check_phone_number
from app.interviews.token import access_token
from app.lifecycle import Status
from app.livekit.access_tokens import LARGEST_TOKEN, Signer
from app.models import ChangeType, Interview, Organization, TimelineEntry

DEFAULT_ORGANIZATION = "default"
DEFAULT_PARTICIPANT_NAME = "Candidate"
DEFAULT_COMPANY_NAME = "the hiring company"
DEFAULT_MAX_DURATION = 1800  # seconds
DEFAULT_INSTRUCTIONS = (
    "Welcome to your interview for {jobTitle} at {companyName}. "
    "Please speak clearly and answer all questions to the best of your ability."
)
PLACEHOLDER = re.compile(r"\{(jobTitle|companyName|participantName)\}")
MAX_ATTEMPT = 9999  # up to which tokens must fit


@dataclass(frozen=True, slots=True, kw_only=True)
class InterviewSpec:
    """A new interview; None means the organization's default. max_duration is in seconds."""

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
    context: Any = None
    """For the agent only: any JSON."""
    interview_id: uuid.UUID | None = None
    """Random by default; the demo has a fixed one."""
    field: str = "instructions"
    """The path of the instructions in the request, for errors about the texts."""


async def schedule(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    specs: Sequence[InterviewSpec],
    now: datetime,
    signer: Signer,
    policy: JoinPolicy = JoinPolicy.OPEN,
) -> list[Interview]:
    """Create interviews in the order of their specs, all or none. `policy` is the deployment's.

    Raises TokenTooLarge, naming each whose texts do not fit into an access token, and PayloadInvalid for a phone number
    that the join policy can't compare.
    """
    organization = await session.get_one(Organization, organization_id)
    policy = stricter(policy, organization.join_policy)
    for spec in specs:
        check_phone_number(spec.phone_number, policy=policy, field=spec.field.replace("instructions", "phoneNumber"))
    interviews = [_build_interview(spec, organization, now) for spec in specs]
    check_tokens({spec.field: each for spec, each in zip(specs, interviews, strict=True)}, signer=signer, now=now)
    session.add_all(interviews)
    changes = [count_change(each, ChangeType.SCHEDULED, None, now) for each in interviews]
    await record_changes(await driver_connection(session), changes)
    session.add_all([TimelineEntry.about(each, kind="call", name="scheduled", detail={}) for each in interviews])
    await session.flush()
    return interviews


def _build_interview(spec: InterviewSpec, organization: Organization, now: datetime) -> Interview:
    interview = Interview(
        id=spec.interview_id or uuid.uuid4(),
        organization_id=organization.id,
        candidate_id=spec.candidate_id,
        application_id=spec.application_id,
        job_post_id=spec.job_post_id,
        participant_name=spec.participant_name,
        phone_number=spec.phone_number,
        job_title=spec.job_title,
        company_name=spec.company_name or organization.company_name,
        max_duration=spec.max_duration or organization.max_duration,
        opens_at=spec.opens_at,
        closes_at=spec.closes_at,
        context=spec.context,
        sequence=0,
        attempt=1,
        status=Status.READY_TO_JOIN,
        next_deadline_at=spec.closes_at,
        settled_at=now,
        created_at=now,
        updated_at=now,
    )
    interview.instructions = spec.instructions or rendered_instructions(interview, organization)
    return interview


def rendered_instructions(interview: Interview, organization: Organization) -> str:
    """Return the organization's instructions template, rendered with the interview's texts."""
    texts = {
        "jobTitle": interview.job_title,
        "companyName": interview.company_name,
        "participantName": interview.participant_name,
    }
    return render(organization.instructions_template, texts)


def render(template: str, texts: dict[str, str]) -> str:
    """Return the template with its {placeholders} filled in, in one pass: a job title is never taken for a template."""
    return PLACEHOLDER.sub(lambda match: texts[match[1]], template)


def check_tokens(interviews: Mapping[str, Interview], *, signer: Signer, now: datetime) -> None:
    """Raise TokenTooLarge if a token could be larger than proxies accept. The keys are the fields of instructions."""
    largest = partial(access_token, attempt=MAX_ATTEMPT, status=max(Status, key=len), signer=signer, now=now)
    sizes = {field: len(largest(interview)) for field, interview in interviews.items()}
    errors = [
        {
            "field": field,
            "message": f"The interview's texts give an access token of {size} bytes, {LARGEST_TOKEN} are allowed. "
            f"Shorten the instructions by some {(size - LARGEST_TOKEN) * 3 // 4 + 1} bytes of UTF-8.",
        }
        for field, size in sizes.items()
        if size > LARGEST_TOKEN
    ]
    if errors:
        raise TokenTooLarge(errors[0]["message"] if len(sizes) == 1 else None, errors=errors)


async def ensure_default_organization(session: AsyncSession) -> uuid.UUID:
    """Return the id of the organization that owns the bootstrap key, created if missing."""
    return await ensure_organization(session, name=DEFAULT_ORGANIZATION)


async def ensure_organization(session: AsyncSession, *, name: str) -> uuid.UUID:
    """Return the id of the organization with this name, created if missing. Safe for concurrent calls."""
    await session.execute(
        insert(Organization)
        .values(
            name=name,
            company_name=DEFAULT_COMPANY_NAME,
            instructions_template=DEFAULT_INSTRUCTIONS,
            max_duration=DEFAULT_MAX_DURATION,
        )
        .on_conflict_do_nothing(index_elements=[Organization.name])
    )
    return (await session.scalars(select(Organization.id).where(Organization.name == name))).one()
