"""The two pieces of code that this service was asked to work with, word for word: what they do is the contract.

The agent's handler is here, the frontend's function in web/start-interview.js between its two marks.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

from livekit import rtc

from tests.e2e.toolchain import ROOT

# outside the repository; a clone of it alone has no such file
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
    """The text of startInterview that the test page runs."""
    _, text, _ = re.split(r"^// (?:begin|end) of the seed's text\n", PAGE_SCRIPT.read_text(), flags=re.MULTILINE)
    return text


def original_code(language: str) -> str:
    """The first block of that language in the original, FileNotFoundError where that is not at hand."""
    block = re.search(rf"^```{language}\n(.*?)^```$", ORIGINAL.read_text(), re.MULTILINE | re.DOTALL)
    if block is None:
        raise LookupError(f"{ORIGINAL} has no block of {language}")
    return block[1]


def register_agent_handler(room: rtc.Room) -> list[str]:
    """Runs AGENT_HANDLER, which registers itself on the room; the lines that it prints appear in the list."""
    printed: list[str] = []
    names = {"ctx": SimpleNamespace(room=room), "json": json, "rtc": rtc, "print": printed.append}
    exec(compile(AGENT_HANDLER, "seed", "exec"), names)  # noqa: S102 - its text is above, and must run as it is
    return printed
