"""For AI interviewers on LiveKit Agents: who is interviewed, what to ask, and how to report what happened."""

from interview_agent.client import Checkpoint, Context, InterviewClient, TranscriptLine
from interview_agent.errors import (
    CandidateMissing,
    Conflict,
    Forbidden,
    Gone,
    InterviewAgentError,
    InvalidRequest,
    MetadataError,
    NotFound,
    PlanError,
    ServiceError,
    ServiceUnavailable,
    Unauthorized,
)
from interview_agent.interview import Interview
from interview_agent.metadata import InterviewMetadata
from interview_agent.plan import InterviewPlan, PlannedQuestion
from interview_agent.scorecard import AskedQuestion, Competency, Evidence, Models, Scorecard
from interview_agent.worker import accept_request, on_session_end, setup

__all__ = [
    "AskedQuestion",
    "CandidateMissing",
    "Checkpoint",
    "Competency",
    "Conflict",
    "Context",
    "Evidence",
    "Forbidden",
    "Gone",
    "Interview",
    "InterviewAgentError",
    "InterviewClient",
    "InterviewMetadata",
    "InterviewPlan",
    "InvalidRequest",
    "MetadataError",
    "Models",
    "NotFound",
    "PlanError",
    "PlannedQuestion",
    "Scorecard",
    "ServiceError",
    "ServiceUnavailable",
    "TranscriptLine",
    "Unauthorized",
    "accept_request",
    "on_session_end",
    "setup",
]
