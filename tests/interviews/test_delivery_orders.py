"""The stored status does not depend on when and how often LiveKit's webhooks are delivered."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.schedule import InterviewSpec, ensure_default_organization, schedule
from app.lifecycle import Status, Timeouts
from app.livekit.access_tokens import Signer
from app.models import Interview, TimelineEntry
from tests import livekit_webhooks

START = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
SIGNER = Signer("key", "secret-of-32-characters-or-more-0123", "", timedelta(seconds=120))
CANDIDATE = "candidate-c"
REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "PARTICIPANT_REMOVED", "SERVER_SHUTDOWN")
OUTCOMES = ("", "pending", "completed", "failed")

# One database serves all examples of a property; each has an interview of its own.
EACH = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass(frozen=True)
class ParticipantSession:
    """A participant's time in the room, in milliseconds after START."""

    role: str
    joined: int
    left: int
    reason: str
    outcome: str


@st.composite
def histories(draw: st.DrawFn) -> list[ParticipantSession]:
    """Up to five sessions that may overlap, even within one second. The room ends after the last."""
    sessions = []
    for _ in range(draw(st.integers(1, 5))):
        joined = draw(st.integers(0, 80_000))
        role = draw(st.sampled_from(("candidate", "agent")))
        outcome = draw(st.sampled_from(OUTCOMES)) if role == "agent" else ""
        left = joined + draw(st.integers(1, 60_000))
        sessions.append(ParticipantSession(role, joined, left, draw(st.sampled_from(REASONS)), outcome))
    return sessions


def events(history: Sequence[ParticipantSession], room: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the webhooks of a history in LiveKit's order, with the time at which LiveKit sends each."""
    sent = []
    for number, stay in enumerate(history):
        identity = CANDIDATE if stay.role == "candidate" else f"agent-AJ_{number}"
        kind = "STANDARD" if stay.role == "candidate" else "AGENT"
        attributes = {"interview.outcome": stay.outcome} if stay.outcome else {}
        who: dict[str, Any] = {
            "sid": f"PA_{number}",
            "identity": identity,
            "joined_at": _at(stay.joined),
            "kind": kind,
        }
        noticed = stay.left + (20_000 if stay.reason == "CONNECTION_TIMEOUT" else 0)
        joined = livekit_webhooks.participant(**who)
        left = livekit_webhooks.participant(**who, reason=stay.reason, attributes=attributes)
        sent.append((stay.joined, _event("participant_joined", room, stay.joined, joined)))
        sent.append((noticed, _event("participant_left", room, noticed, left)))
    sent.sort(key=lambda each: each[0])
    end = sent[-1][0] + 125_000
    return [(0, _event("room_started", room, 0)), *sent, (end, _event("room_finished", room, end))]


def _event(name: str, room: str, at: int, participant: dict[str, Any] | None = None) -> dict[str, Any]:
    return livekit_webhooks.event(name, room=room, at=_at(at), room_created_at=START, participant=participant)


def _at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


async def new_interview(sessions: async_sessionmaker[AsyncSession]) -> uuid.UUID:
    spec = InterviewSpec(
        candidate_id="c", application_id="a", job_post_id="j", job_title="Developer", phone_number="966509876543"
    )
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        (interview,) = await schedule(session, organization_id=organization_id, specs=[spec], now=START, signer=SIGNER)
        return interview.id


async def deliver(
    sessions: async_sessionmaker[AsyncSession], deliveries: Sequence[tuple[int, dict[str, Any]]]
) -> list[Status]:
    """Deliver each event in a transaction of its own; return the stored status after each."""
    statuses = []
    for at, event in deliveries:
        await livekit_webhooks.deliver(sessions, event, at=_at(at), timeouts=Timeouts())
        async with sessions() as session:
            statuses.append(await session.scalar(select(Interview.status).where(Interview.id == _id_of(event))))
    return [status for status in statuses if status]


def _id_of(event: dict[str, Any]) -> uuid.UUID:
    return uuid.UUID(event["room"]["name"].removeprefix("interview-"))


@pytest.mark.slow
@given(history=histories(), data=st.data())
@EACH
async def test_delayed_and_duplicate_deliveries_do_not_matter(
    sessions: async_sessionmaker[AsyncSession], history: list[ParticipantSession], data: st.DataObject
) -> None:
    prompt = await new_interview(sessions)
    expected = await deliver(sessions, events(history, f"interview-{prompt}"))
    delayed = await new_interview(sessions)
    sent = events(history, f"interview-{delayed}")
    statuses = await deliver(sessions, _late_and_repeated(sent, data))
    assert statuses[-1] == expected[-1]
    assert await _row(sessions, delayed) == await _row(sessions, prompt)


def _late_and_repeated(
    sent: Sequence[tuple[int, dict[str, Any]]], data: st.DataObject
) -> list[tuple[int, dict[str, Any]]]:
    """Return deliveries as LiveKit's queue makes them: in order, up to 30 s late, some repeated later."""
    arrivals: list[tuple[int, dict[str, Any]]] = []
    latest = 0
    for at, event in sent:
        latest = max(latest, at + data.draw(st.integers(0, 30_000)))
        arrivals.append((latest, event))
    repeated = [(at + data.draw(st.integers(1, 60_000)), event) for at, event in arrivals if data.draw(st.booleans())]
    return sorted([*arrivals, *repeated], key=lambda each: each[0])


async def _row(sessions: async_sessionmaker[AsyncSession], interview_id: uuid.UUID) -> tuple[object, ...]:
    async with sessions() as session:
        row = await session.get_one(Interview, interview_id)
        return (row.status, row.end_reason, row.started_at, row.ended_at, row.talk_time, row.next_deadline_at)


@given(history=histories(), data=st.data())
@EACH
async def test_no_order_crashes_or_reopens(
    sessions: async_sessionmaker[AsyncSession], history: list[ParticipantSession], data: st.DataObject
) -> None:
    interview_id = await new_interview(sessions)
    sent = [event for _, event in events(history, f"interview-{interview_id}")]
    shuffled = data.draw(st.permutations(sent))
    statuses = await deliver(sessions, [(200_000 + n, event) for n, event in enumerate(shuffled)])
    assert len(statuses) == len(sent)
    ended = next((n for n, status in enumerate(statuses) if status.is_terminal), len(statuses) - 1)
    decided = [status for status in statuses[ended:] if status is not statuses[-1]]
    assert len(set(decided)) <= 1
    assert not decided or (decided[0] in (Status.FAILED, Status.ABANDONED) and statuses[-1] is Status.COMPLETED)
    assert statuses[ended : ended + len(decided)] == decided  # amended once, by the leave of an agent
    async with sessions() as session:
        kinds = await session.scalars(select(TimelineEntry.kind).where(TimelineEntry.interview_id == interview_id))
        assert list(kinds).count("livekit") == len(sent)
