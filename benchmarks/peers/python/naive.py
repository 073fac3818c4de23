"""The obvious implementation in Python: FastAPI, the SQLAlchemy ORM and livekit-api's token."""

import datetime
import json
import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from livekit import api
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Interview(Base):
    __tablename__ = "bench_interview"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    candidate_id: Mapped[uuid.UUID]
    application_id: Mapped[uuid.UUID]
    job_post_id: Mapped[uuid.UUID]
    participant_name: Mapped[str]
    phone_number: Mapped[str]
    job_title: Mapped[str]
    company_name: Mapped[str]
    max_duration: Mapped[int]
    status: Mapped[str]


class JoinResponse(BaseModel):
    serverUrl: str
    participantToken: str
    candidateId: uuid.UUID
    participantName: str
    jobTitle: str
    interviewId: uuid.UUID
    applicationId: uuid.UUID
    jobPostId: uuid.UUID
    companyName: str
    instructions: str
    maxDuration: int
    status: str


URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
Session = async_sessionmaker(create_async_engine(URL, pool_size=10, max_overflow=0), expire_on_commit=False)
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    async with Session() as active:
        yield active


@app.post("/interviews/{interview_id}/join")
async def join(interview_id: uuid.UUID, db: Annotated[AsyncSession, Depends(session)]) -> JoinResponse:
    row = await db.get(Interview, interview_id)
    if row is None:
        raise HTTPException(404)
    details: dict[str, Any] = {
        "candidateId": str(row.candidate_id),
        "participantName": row.participant_name,
        "jobTitle": row.job_title,
        "interviewId": str(row.id),
        "applicationId": str(row.application_id),
        "jobPostId": str(row.job_post_id),
        "companyName": row.company_name,
        "instructions": f"Welcome to your interview for {row.job_title} at {row.company_name}. Please speak clearly "
        "and answer all questions to the best of your ability.",
        "maxDuration": row.max_duration,
        "status": row.status,
    }
    token = (
        api.AccessToken("devkey", "secretsecretsecretsecretsecretsecret")
        .with_identity(f"candidate-{row.candidate_id}")
        .with_name(row.participant_name)
        .with_metadata(json.dumps({**details, "phoneNumber": row.phone_number}))
        .with_ttl(datetime.timedelta(minutes=10))
        .with_grants(api.VideoGrants(room_join=True, room=f"interview-{row.id}"))
        .to_jwt()
    )
    return JoinResponse(serverUrl="ws://localhost:7880", participantToken=token, **details)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False, log_level="warning")
