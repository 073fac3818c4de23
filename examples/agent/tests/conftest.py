"""What the agent's own tests share. The whole agent, in a real room, is in tests/e2e of the repository."""

import sys
from pathlib import Path

import pytest
from interview_agent import InterviewMetadata

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def metadata() -> InterviewMetadata:
    return InterviewMetadata(
        candidate_id="candidate",
        participant_name="Noura",
        phone_number="966509876543",
        job_title="Baker",
        interview_id="c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
        application_id="application",
        job_post_id="post",
        company_name="MENA Bank",
        instructions="Welcome to your interview.",
        max_duration=1800,
        status="READY_TO_JOIN",
    )
