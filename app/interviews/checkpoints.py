"""Checkpoints: the place that an agent has reached, for the agent that takes over when it crashes."""

import json
import uuid
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import AgentReplaced, CheckpointOutdated, InterviewOver, NoCheckpoint, WrongRoom
from app.interviews.interview_rows import InterviewRow, lock_owned_row
from app.interviews.queries import find_readable
from app.models import Checkpoint

MAX_EARLIER_AGENTS = 50  # that are remembered, so that the row stays small

_READ = """
    SELECT agent, earlier_agents, sequence, state = $3::jsonb AS is_same FROM checkpoints
    WHERE interview_id = $1 AND attempt = $2
"""
_STORE = """
    INSERT INTO checkpoints (interview_id, attempt, agent, earlier_agents, sequence, state, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (interview_id) DO UPDATE SET attempt = excluded.attempt, agent = excluded.agent,
        earlier_agents = excluded.earlier_agents, sequence = excluded.sequence, state = excluded.state,
        updated_at = excluded.updated_at
"""


async def store_checkpoint(
    connection: asyncpg.Connection,
    *,
    organization_id: uuid.UUID,
    interview_id: uuid.UUID,
    room_name: str,
    agent: str,
    sequence: int,
    state: Any,
    now: datetime,
) -> None:
    """Store a checkpoint of the live attempt, in a transaction. The last one again changes nothing.

    Raises InterviewNotFound, InterviewErased, WrongRoom, InterviewOver, AgentReplaced, CheckpointOutdated.
    """
    interview = await lock_owned_row(connection, interview_id, organization_id=organization_id)
    _check_live(interview, room_name)
    state_json = json.dumps(state, ensure_ascii=False)
    stored = await connection.fetchrow(_READ, interview.id, interview.attempt, state_json)
    if stored and _is_repeated(stored, agent=agent, sequence=sequence):
        return
    earlier = _earlier_agents(stored, agent)
    await connection.execute(_STORE, interview.id, interview.attempt, agent, earlier, sequence, state_json, now)


def _check_live(interview: InterviewRow, room_name: str) -> None:
    """Raise WrongRoom for the room of another attempt, InterviewOver."""
    if room_name != interview.room_name:
        raise WrongRoom(roomName=interview.room_name)
    if interview.status.is_terminal:
        raise InterviewOver("It has ended: no checkpoint is stored any more.", interviewStatus=interview.status)


def _is_repeated(stored: asyncpg.Record, *, agent: str, sequence: int) -> bool:
    """Return whether it is stored already. Raises AgentReplaced, CheckpointOutdated."""
    if agent in stored["earlier_agents"]:
        raise AgentReplaced
    if agent != stored["agent"] or sequence > stored["sequence"]:
        return False
    if sequence == stored["sequence"] and stored["is_same"]:
        return True
    raise CheckpointOutdated(sequence=stored["sequence"])


def _earlier_agents(stored: asyncpg.Record | None, agent: str) -> list[str]:
    """Return the agents that may not write any more once `agent` has."""
    if stored is None:
        return []
    earlier: list[str] = stored["earlier_agents"]
    return earlier if stored["agent"] == agent else [*earlier, stored["agent"]][-MAX_EARLIER_AGENTS:]


async def read_checkpoint(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID
) -> tuple[str, Checkpoint]:
    """Return the current attempt's room and last checkpoint.

    Raises InterviewNotFound, InterviewErased, NoCheckpoint.
    """
    interview = await find_readable(session, organization_id=organization_id, interview_id=interview_id)
    checkpoint = await session.scalar(
        select(Checkpoint).where(Checkpoint.interview_id == interview.id, Checkpoint.attempt == interview.attempt)
    )
    if checkpoint is None:
        raise NoCheckpoint
    return interview.room_name, checkpoint
