"""The checkpoint of an interview, by which another agent goes on where one has crashed."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, JsonValue

from app.api.dependencies import AgentCaller, CurrentServices, InterviewId, JsonBody, Now, Session
from app.api.problems import error_responses
from app.api.routes import ApiRoute
from app.api.types import Instant, ParticipantIdentity, RoomName, Shape, WholeNumber, json_within
from app.core.database import raw_connection
from app.core.errors import (
    AgentReplaced,
    CheckpointOutdated,
    InterviewErased,
    InterviewOver,
    NoCheckpoint,
    WrongRoom,
)
from app.interviews.checkpoints import read_checkpoint, store_checkpoint

router = APIRouter(route_class=ApiRoute, tags=["agent"])

MAX_STATE_SIZE = 64 * 1024  # bytes of UTF-8
MAX_CHECKPOINT_SIZE = 4 * MAX_STATE_SIZE  # bytes: a state with every character escaped, and the other fields
EXAMPLE = {"question": 3}


class NewCheckpoint(Shape, extra="forbid"):
    """The place that an agent has reached."""

    room_name: RoomName
    agent: ParticipantIdentity
    sequence: WholeNumber = Field(ge=0, lt=2**63, description="Rises with each checkpoint of this agent", examples=[7])
    state: Annotated[JsonValue, json_within(MAX_STATE_SIZE)] = Field(
        description="Any JSON, 64 KB at most: the question, the ids of those that were asked, notes. Not the history",
        examples=[EXAMPLE],
    )


class Checkpoint(Shape):
    """The last checkpoint of the current attempt."""

    room_name: str
    agent: str = Field(description="The identity of the agent that stored it", examples=["agent-AJ_aFq2"])
    sequence: int = Field(examples=[7])
    state: JsonValue = Field(examples=[EXAMPLE])
    updated_at: Instant


@router.put(
    "/interviews/{interview_id}/checkpoint",
    status_code=204,
    operation_id="storeCheckpoint",
    summary="Store the place that the agent has reached",
    responses=error_responses(InterviewErased, WrongRoom, InterviewOver, AgentReplaced, CheckpointOutdated),
)
async def put_checkpoint(
    interview_id: InterviewId,
    caller: AgentCaller,
    body: Annotated[NewCheckpoint, JsonBody(max_size=MAX_CHECKPOINT_SIZE)],
    now: Now,
    services: CurrentServices,
) -> None:
    """Replaces the last one. Idempotent. Once another agent has stored one, the earlier agent is refused."""
    async with raw_connection(services.sessions, transaction=True) as connection:
        await store_checkpoint(
            connection,
            organization_id=caller.organization_id,
            interview_id=interview_id,
            room_name=body.room_name,
            agent=body.agent,
            sequence=body.sequence,
            state=body.state,
            now=now,
        )


@router.get(
    "/interviews/{interview_id}/checkpoint",
    operation_id="getCheckpoint",
    summary="Get the current attempt's checkpoint",
    responses=error_responses(InterviewErased, NoCheckpoint),
)
async def checkpoint(interview_id: InterviewId, caller: AgentCaller, session: Session) -> Checkpoint:
    """A new attempt starts without one."""
    room_name, stored = await read_checkpoint(
        session, organization_id=caller.organization_id, interview_id=interview_id
    )
    return Checkpoint.copy_of(stored, room_name=room_name)
