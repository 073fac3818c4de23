"""The tables. One aggregate, the interview; the rest are facts about it, and the tenants that it belongs to."""

import enum
import re
import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, event, inspect, text
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, Mapper, mapped_column, validates

from app.db import Base
from app.lifecycle import EndReason, Outcome, Role, Status
from app.policy import JoinPolicy
from app.search_text import searchable


def _one_of(column: str, names: type[enum.Enum]) -> str:
    """A check, not a Postgres enum: a new name is then an ordinary migration."""
    values = ", ".join(f"'{name.value}'" for name in names)
    return f"{column} IN ({values})"


class Organization(Base):
    """A tenant: the owner of API keys and interviews, with the defaults of its interviews."""

    __tablename__ = "organizations"
    __table_args__ = (CheckConstraint(_one_of("join_policy", JoinPolicy), name="join_policy"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(unique=True)
    company_name: Mapped[str]
    instructions_template: Mapped[str]
    max_duration: Mapped[int]
    join_policy: Mapped[JoinPolicy | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKey(Base):
    """A secret of an organization, of which only the SHA-256 is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    revoked_at: Mapped[datetime | None]

    @property
    def short_id(self) -> str:
        """The part of a key that is no secret: ik_{short_id}_..."""
        return self.id.hex[:12]


SEARCHED = ("participant_name", "job_title", "phone_number")


def _search_text(context: DefaultExecutionContext) -> str:
    """Return the search_text of a row that is inserted, whichever way it is."""
    row = context.get_current_parameters()  # type: ignore[no-untyped-call] # SQLAlchemy has not annotated it
    return searchable(**{name: row[name] for name in SEARCHED})


class Interview(Base):
    """An interview: all that join needs, and what its facts say as of settled_at. max_duration is in seconds.

    `context` is the agent's alone: no token carries it, and it is read only where it is asked for. `sequence` counts
    the changes.
    """

    __tablename__ = "interviews"
    __table_args__ = (
        CheckConstraint(_one_of("status", Status), name="status"),
        CheckConstraint(_one_of("end_reason", EndReason), name="end_reason"),
        Index("ix_interviews_organization_id_created_at_id", "organization_id", "created_at", "id"),
        Index("ix_interviews_organization_id_status_created_at_id", "organization_id", "status", "created_at", "id"),
        Index(
            "ix_interviews_live",
            "id",
            postgresql_where=text("status IN ('WAITING_FOR_AGENT', 'IN_PROGRESS', 'RECONNECTING')"),
        ),
        Index(
            "ix_interviews_next_deadline_at",
            "next_deadline_at",
            postgresql_where=text("next_deadline_at IS NOT NULL"),
        ),
        Index(
            "ix_interviews_organization_id_job_post_id_created_at_id",
            "organization_id",
            "job_post_id",
            "created_at",
            "id",
        ),
        Index("ix_interviews_organization_id_application_id", "organization_id", "application_id"),
        Index("ix_interviews_organization_id_candidate_id", "organization_id", "candidate_id"),
        Index("ix_interviews_organization_id_updated_at_id", "organization_id", "updated_at", "id"),
        Index(
            "ix_interviews_organization_id_opens_at",
            "organization_id",
            "opens_at",
            postgresql_where=text("opens_at IS NOT NULL"),
        ),
        Index(
            "ix_interviews_search_text",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
    )

    # Made here, and the sentinel: only so does SQLAlchemy insert many in one statement.
    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, insert_sentinel=True, server_default=text("gen_random_uuid()")
    )
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    candidate_id: Mapped[str]
    application_id: Mapped[str]
    job_post_id: Mapped[str]
    participant_name: Mapped[str]
    phone_number: Mapped[str]
    job_title: Mapped[str]
    company_name: Mapped[str]
    instructions: Mapped[str]
    max_duration: Mapped[int]
    opens_at: Mapped[datetime | None]
    closes_at: Mapped[datetime | None]

    invite_hash: Mapped[bytes | None]
    invite_expires_at: Mapped[datetime | None]

    context: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True), deferred=True)

    # What `q` looks into; it follows name, job title and phone number by itself.
    search_text: Mapped[str] = mapped_column(default=_search_text, server_default=text("''"), deferred=True)

    sequence: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    status: Mapped[Status] = mapped_column(server_default=text("'READY_TO_JOIN'"))
    end_reason: Mapped[EndReason | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    talk_time: Mapped[timedelta] = mapped_column(server_default=text("'0'"))
    talking_since: Mapped[datetime | None]

    # The decision: how the attempt ended, as first stored. A completion report may amend status and end_reason.
    decided_cause: Mapped[str | None]
    decided_status: Mapped[Status | None]
    decided_end_reason: Mapped[EndReason | None]

    # Statements, and what this service itself did, of the current attempt.
    cancelled_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    room_gone_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(server_default=text("0"))
    dispatched_at: Mapped[datetime | None]
    told: Mapped[timedelta | None]
    revivals: Mapped[int] = mapped_column(server_default=text("0"))
    opened_by_join: Mapped[int] = mapped_column(server_default=text("0"))

    # The row is the job: due at next_deadline_at, unless somebody has it on lease or it was put off.
    next_deadline_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    settled_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)

    @property
    def candidate_identity(self) -> str:
        return f"candidate-{self.candidate_id}"

    @validates("updated_at")
    def _never_set_back(self, _: str, value: datetime) -> datetime:
        """Whoever waited for the lock comes with an older instant; a walk by updated_at relies on it only growing."""
        before: datetime | None = self.__dict__.get("updated_at")
        return max(before, value) if before else value


@event.listens_for(Interview, "before_update")
def _keep_search_text(_mapper: Mapper[Interview], _connection: DatabaseConnection, interview: Interview) -> None:
    attributes = inspect(interview).attrs
    if any(attributes[name].history.has_changes() for name in SEARCHED):
        interview.search_text = searchable(**{name: getattr(interview, name) for name in SEARCHED})


class Connection(Base):
    """One LiveKit participant sid. The orders are the timeline ids of the webhooks that told of it."""

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint(_one_of("role", Role), name="role"),
        CheckConstraint(_one_of("outcome", Outcome), name="outcome"),
    )

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    sid: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    room_sid: Mapped[str]
    identity: Mapped[str]
    role: Mapped[Role]
    joined_at: Mapped[datetime]
    joined_order: Mapped[int]
    left_at: Mapped[datetime | None]
    left_order: Mapped[int | None]
    leave_reason: Mapped[str | None]
    outcome: Mapped[Outcome | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    seen_at: Mapped[datetime | None]
    missing_at: Mapped[datetime | None]


class Room(Base):
    """One LiveKit room sid: a room name lives again, under a new sid, when somebody joins after its end."""

    __tablename__ = "rooms"
    __table_args__ = (
        Index("ix_rooms_open", "interview_id", postgresql_where=text("ended_at IS NULL AND missing_at IS NULL")),
    )

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    sid: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    missing_at: Mapped[datetime | None]


class JoinRequest(Base):
    """A call of join and how it was answered: TOKEN_ISSUED or the error's code. Append only.

    `address` is a keyed hash, made for this interview alone, and kept only where the join policy asks for something.
    """

    __tablename__ = "join_requests"
    __table_args__ = (Index("ix_join_requests_interview_id_at", "interview_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime]
    answer: Mapped[str]
    address: Mapped[bytes | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class WrongTry(Base):
    """A wrong phone number or invite of the last hour. What is older is deleted with the next one."""

    __tablename__ = "wrong_tries"
    __table_args__ = (Index("ix_wrong_tries_interview_id_at", "interview_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    at: Mapped[datetime]
    address: Mapped[bytes]


class TimelineEntry(Base):
    """What happened to an interview, in order: LiveKit's events, calls, decisions, changes of status. Append only.

    `at` is when it was written, which is done under the interview's lock: so it and the id are in one order.
    """

    __tablename__ = "timeline"
    __table_args__ = (Index("ix_timeline_interview_id_id", "interview_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    kind: Mapped[str]
    name: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    livekit_event_id: Mapped[str | None] = mapped_column(unique=True)

    @classmethod
    def about(cls, interview: Interview, *, kind: str, name: str, detail: dict[str, Any]) -> Self:
        """Return an entry on the locked interview's current attempt. kind: livekit, call, service or status."""
        return cls(interview_id=interview.id, attempt=interview.attempt, kind=kind, name=name, detail=detail)


class Change(Base):
    """A change that callers are told of: the stream reads it here, and webhooks are made of it. Append only.

    In the order of (xid, id), below the snapshot's xmin, no change comes late: ids alone are not in the order of the
    commits. xid is that of its transaction, or of the change before where that is higher. Statuses are as they were
    shown.
    """

    __tablename__ = "changes"
    __table_args__ = (
        Index("ix_changes_organization_id_xid_id", "organization_id", "xid", "id"),
        Index("uq_changes_interview_id_sequence", "interview_id", "sequence", unique=True),
        Index("ix_changes_organization_id_at", "organization_id", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    xid: Mapped[int] = mapped_column(server_default=text("pg_current_xact_id()::text::bigint"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    sequence: Mapped[int]
    at: Mapped[datetime]
    type: Mapped[str]
    attempt: Mapped[int]
    status: Mapped[str]
    previous_status: Mapped[str | None]
    end_reason: Mapped[str | None]


class WebhookEndpoint(Base):
    """An address of an organization that is told of changes. No event types means all of them.

    The secrets are kept as they are, because each message is signed with them: nothing but signing reads them. A
    deleted endpoint stays for a day without its secrets, so that a change under way never refers to what is gone.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("disabled_reason IN ('GONE', 'FAILING', 'MANUAL')", name="disabled_reason"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled"),
        Index("ix_webhook_endpoints_organization_id_created_at_id", "organization_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """Tries that failed since one succeeded last."""
    failing_since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    """The receiver asked for a pause."""
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Delivery(Base):
    """A change on its way to an endpoint, or a test (without a change). The row is the job: due at next_attempt_at.

    `claim` fences the finish: who took it has it until next_attempt_at, and afterwards somebody else may. `attempts`
    counts those of this round, which began at `since`; a replay begins another.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'DELIVERED', 'FAILED')", name="state"),
        UniqueConstraint("endpoint_id", "change_id"),
        Index("ix_deliveries_pending", "endpoint_id", "next_attempt_at", postgresql_where=text("state = 'PENDING'")),
        Index("ix_deliveries_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("ix_deliveries_endpoint_id_created_at_id", "endpoint_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoints.id"))
    change_id: Mapped[int | None] = mapped_column(ForeignKey("changes.id"))
    state: Mapped[str] = mapped_column(server_default=text("'PENDING'"))
    created_at: Mapped[datetime]
    since: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    claim: Mapped[uuid.UUID | None]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class DeliveryAttempt(Base):
    """One try of a delivery, and what came of it. What the receiver answered beside the status is not kept."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (Index("ix_delivery_attempts_delivery_id_at", "delivery_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    duration: Mapped[timedelta]
    status_code: Mapped[int | None]
    error: Mapped[str | None]


class Report(Base):
    """POST .../complete: what the agent said of an attempt, once for each outcome."""

    __tablename__ = "reports"
    __table_args__ = (CheckConstraint(_one_of("outcome", Outcome), name="outcome"),)

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[Outcome] = mapped_column(primary_key=True)
    said_at: Mapped[datetime]
    last_said_at: Mapped[datetime]
    summary: Mapped[str | None]
    result: Mapped[Any | None] = mapped_column(JSONB)


class IdempotencyKey(Base):
    """The answer to a call that carried an Idempotency-Key. The fingerprint is of the call: method, path and body."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Tick(Base):
    """A periodic task, run by whichever process takes its row."""

    __tablename__ = "ticks"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_run: Mapped[datetime] = mapped_column(server_default=text("to_timestamp(0)"))


class Probe(Base):
    """A room that `interviews doctor` made to see whether LiveKit's webhook about it arrives."""

    __tablename__ = "probes"

    room: Mapped[str] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    arrived_at: Mapped[datetime | None]


PROBE_ROOM = "interviews-doctor-"  # and random digits

ROOM_NAME = re.compile(
    r"interview-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:-([2-9]|[1-9][0-9]{1,8}))?"
)


class RoomName(NamedTuple):
    """The interview and the attempt that a LiveKit room belongs to."""

    interview_id: uuid.UUID
    attempt: int


def room_name(interview_id: uuid.UUID, attempt: int) -> str:
    """Return the LiveKit room of an attempt: interview-{id}, then interview-{id}-2."""
    return f"interview-{interview_id}" if attempt == 1 else f"interview-{interview_id}-{attempt}"


def parse_room_name(name: str) -> RoomName | None:
    """Return what a room name says, None for a room that is none of ours."""
    match = ROOM_NAME.fullmatch(name)
    return RoomName(uuid.UUID(match[1]), int(match[2] or 1)) if match else None
