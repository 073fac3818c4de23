"""The transcript of an interview: agents append to it, recruiters read it while the interview runs."""

from typing import Annotated, Literal, Self

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from app import models
from app.api.dependencies import (
    BodyReader,
    CallerWith,
    InterviewId,
    Session,
    TranscriptReader,
    bearer,
    documented_own_interview,
    own_interview_id_of,
)
from app.api.problems import error_responses
from app.api.routes import ApiRoute, FastRoute, check_parameters
from app.api.services import services_of
from app.api.types import GivenInstant, Instant, ParticipantIdentity, RoomName, Shape, Text
from app.auth.api_keys import Scope
from app.core.errors import InterviewErased, InterviewOver, TranscriptFull, WrongRoom
from app.core.validation_messages import LINE_ID_PATTERN
from app.interviews.queries import find_readable
from app.interviews.transcript import read_transcript
from app.interviews.transcript_append import AppendCommand, SpokenLine

router = APIRouter(route_class=ApiRoute)
fast_router = APIRouter(route_class=FastRoute)

MAX_LINES = 200  # of a call
MAX_TEXT = 4_000  # characters of a line
MAX_APPEND_SIZE = 2 * 1024 * 1024  # bytes: 200 of the longest lines in Arabic, and the other fields
MAX_POSITION = 2**63 - 1

Speaker = Literal["agent", "candidate"]


class NewTranscriptLine(Shape, extra="forbid"):
    """What somebody said."""

    id: str = Field(
        pattern=LINE_ID_PATTERN,
        description="Unique among this agent's lines in this attempt: a line whose id is known is skipped",
        examples=["line-17"],
    )
    speaker: Speaker
    text: Text = Field(min_length=1, max_length=MAX_TEXT, examples=["ما الفرق بين القائمة والصف؟"])
    at: GivenInstant = Field(description="When it was said, by the agent's clock")

    def spoken(self) -> SpokenLine:
        return SpokenLine(self.id, self.speaker, self.text, self.at)


class NewTranscriptLines(Shape, extra="forbid"):
    """Lines for the transcript, in the order in which they were said."""

    room_name: RoomName
    agent: ParticipantIdentity
    lines: list[NewTranscriptLine] = Field(min_length=1, max_length=MAX_LINES)


class AppendedLines(Shape):
    """What was stored of a call's lines."""

    stored: int = Field(description="How many lines were new", examples=[1])
    position: int = Field(description="The position of the attempt's last line", examples=[17])


class TranscriptLine(Shape):
    """A line of the transcript."""

    position: int = Field(description="Counts the attempt's lines, from 1", examples=[17])
    id: str = Field(examples=["line-17"])
    speaker: Speaker
    agent: str = Field(description="The identity of the agent that sent the line", examples=["agent-AJ_aFq2"])
    text: str = Field(examples=["ما الفرق بين القائمة والصف؟"])
    at: Instant = Field(description="When it was said, by the agent's clock")

    @classmethod
    def of(cls, row: models.TranscriptLine) -> Self:
        return cls.copy_of(row, id=row.line_id, at=row.said_at)


class TranscriptPage(Shape):
    """A page of an attempt's transcript, in order. nextCursor is null on the last page."""

    data: list[TranscriptLine]
    next_cursor: str | None


class TranscriptQuery(Shape, populate_by_name=False):
    """Which lines to return."""

    attempt: int | None = Field(default=None, ge=1, le=MAX_POSITION, description="default: the current attempt")
    after: int | None = Field(
        default=None,
        ge=0,
        le=MAX_POSITION,
        description="Only lines behind this position, which needs `attempt`: to get what is new, send the position of "
        "the last line that you have",
    )
    cursor: str | None = Field(default=None, max_length=200, description="nextCursor of the previous page")
    limit: int = Field(default=200, ge=1, le=500)

    def check(self) -> None:
        """Raise RequestValidationError for a position without its attempt, of which there may be a new one."""
        if self.after is not None and self.attempt is None:
            message = "needs attempt too, because positions begin again with each attempt"
            raise RequestValidationError([{"loc": ("query", "after"), "msg": message, "type": "value_error"}])


read_caller = CallerWith(Scope.AGENT)
read_lines = BodyReader(NewTranscriptLines, max_size=MAX_APPEND_SIZE)


@fast_router.post(
    "/interviews/{interview_id}/transcript",  # noqa: FAST003 - a FastRoute reads it itself
    tags=["agent"],
    operation_id="appendTranscript",
    summary="Append lines to the transcript",
    response_model=AppendedLines,
    responses=error_responses(InterviewErased, WrongRoom, InterviewOver, TranscriptFull),
    dependencies=[Depends(documented_own_interview), Depends(read_caller), Depends(read_lines)],
)
async def append_transcript(request: Request) -> Response:
    """Idempotent: repeat the call if its answer was lost. Lines are taken until 15 minutes after the attempt's end."""
    caller = await read_caller(request, await bearer(request))
    await check_parameters(request)
    interview_id = own_interview_id_of(request)
    body = await read_lines(request)
    lines = [line.spoken() for line in body.lines]
    services = services_of(request)
    command = AppendCommand(caller.organization_id, interview_id, body.room_name, body.agent, lines, services.clock())
    appended = await services.appends(command)
    return Response(orjson.dumps(appended), media_type="application/json")


@router.get(
    "/interviews/{interview_id}/transcript",
    tags=["recruiter"],
    operation_id="getTranscript",
    summary="Read an attempt's transcript, also while it runs",
    responses=error_responses(InterviewErased),
)
async def transcript(
    interview_id: InterviewId, caller: TranscriptReader, query: Annotated[TranscriptQuery, Query()], session: Session
) -> TranscriptPage:
    """Lines never move, and none is added before one that you have read."""
    query.check()
    interview = await find_readable(session, organization_id=caller.organization_id, interview_id=interview_id)
    page = await read_transcript(
        session,
        interview_id=interview.id,
        attempt=query.attempt or interview.attempt,
        after=query.after or 0,
        cursor=query.cursor,
        limit=query.limit,
    )
    return TranscriptPage(data=[TranscriptLine.of(line) for line in page.items], next_cursor=page.next_cursor)
