"""The seed: the two pieces of code that this service must work with, verbatim.

The agent's handler is here, the frontend's function is in web/start-interview.js between two markers.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

from livekit import rtc

from tests.e2e.toolchain import ROOT

# outside the repository, so a clone lacks it
ORIGINAL = ROOT.parent / "shared" / "seed" / "participant-metadata.md"
PAGE_SCRIPT = Path(__file__).parent / "web" / "start-interview.js"

AGENT_HANDLER = """\
# Python example for AI agent
@ctx.room.on("participant_connected")
def on_participant_connected(participant: rtc.RemoteParticipant):
    if participant.metadata:
        metadata = json.loads(participant.metadata)

        # Now AI agent has access to all interview details:
        interview_id = metadata['interviewId']
        candidate_id = metadata['candidateId']
        application_id = metadata['applicationId']
        job_post_id = metadata['jobPostId']
        job_title = metadata['jobTitle']
        company_name = metadata['companyName']
        participant_name = metadata['participantName']
        phone_number = metadata['phoneNumber']
        instructions = metadata['instructions']
        max_duration = metadata['maxDuration']
        status = metadata['status']

        print(f"Candidate {participant_name} joined for {job_title} at {company_name}")
        print(f"Interview ID: {interview_id}")
        print(f"Instructions: {instructions}")
"""


def frontend_function() -> str:
    """Return the source of startInterview that the test page runs."""
    _, text, _ = re.split(r"^// (?:begin|end) of the seed's text\n", PAGE_SCRIPT.read_text(), flags=re.MULTILINE)
    return text


def original_code(language: str) -> str:
    """Return the first block of that language in the original. Raises FileNotFoundError without the original."""
    block = re.search(rf"^```{language}\n(.*?)^```$", ORIGINAL.read_text(), re.MULTILINE | re.DOTALL)
    if block is None:
        raise LookupError(f"{ORIGINAL} has no block of {language}")
    return block[1]


def register_agent_handler(room: rtc.Room) -> list[str]:
    """Run AGENT_HANDLER, which registers itself on the room; the lines that it prints appear in the list."""
    printed: list[str] = []
    names = {"ctx": SimpleNamespace(room=room), "json": json, "rtc": rtc, "print": printed.append}
    exec(compile(AGENT_HANDLER, "seed", "exec"), names)  # noqa: S102 - its text is above, and must run as it is
    return printed
