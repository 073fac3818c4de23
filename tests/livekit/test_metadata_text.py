"""The token's metadata is the text that JSON.stringify makes of the same fields, byte for byte.

The seed's page sets the metadata after connecting. LiveKit refuses that, but livekit-client does not wait for the
answer if the text equals the metadata that it has from the token. So that page works unchanged if the texts are equal.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.interviews.token import claims_of
from app.lifecycle import Status
from app.livekit.access_tokens import Signer
from app.models import Interview
from tests.e2e.toolchain import Missing, missing

SIGNER = Signer("key", "secret-of-32-characters-or-more-0123", "", timedelta(seconds=120))
# The seed's page, from `const participantMetadata`; `input` is the text of join's answer and the phone number.
PAGE = """
const { joinResponse, phoneNumber } = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({
  candidateId: joinResponse.candidateId,
  participantName: joinResponse.participantName,
  phoneNumber: phoneNumber,
  jobTitle: joinResponse.jobTitle,
  interviewId: joinResponse.interviewId,
  applicationId: joinResponse.applicationId,
  jobPostId: joinResponse.jobPostId,
  companyName: joinResponse.companyName,
  instructions: joinResponse.instructions,
  maxDuration: joinResponse.maxDuration,
  status: joinResponse.status,
}));
"""
# A text, and as JSON.stringify writes it. A lone surrogate is missing: Postgres can't store one.
TEXTS = {
    "فاطمة الزهراء": "فاطمة الزهراء",
    "مُقَابَلَة \u200fRTL": "مُقَابَلَة \u200fRTL",
    "Zoë 👩🏽‍💻 日本": "Zoë 👩🏽‍💻 日本",
    'the "best" \\ job': 'the \\"best\\" \\\\ job',
    "<b>R&D</b> 'x' a/b": "<b>R&D</b> 'x' a/b",
    "a\nb\tc\rd\fe\bf": "a\\nb\\tc\\rd\\fe\\bf",
    "\x01\x1b\x1f\x7f\x80": "\\u0001\\u001b\\u001f\x7f\x80",
    "line\u2028paragraph\u2029bom\ufeff": "line\u2028paragraph\u2029bom\ufeff",
}


def metadata_of(text: str) -> str:
    interview = Interview(
        id=UUID("c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"),
        candidate_id="c",
        participant_name=text,
        phone_number="+966 50 987 6543",
        job_title=text,
        application_id="a",
        job_post_id="j",
        company_name="MENA Bank",
        instructions=text,
        max_duration=1800,
    )
    now = datetime.now(UTC)
    claims = claims_of(interview, attempt=1, status=Status.READY_TO_JOIN, signer=SIGNER, now=now)
    return str(claims["metadata"])


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_is_the_expected_one(text: str) -> None:
    shown = TEXTS[text]
    assert metadata_of(text) == (
        f'{{"candidateId":"c","participantName":"{shown}","phoneNumber":"+966 50 987 6543","jobTitle":"{shown}",'
        '"interviewId":"c6aec8f5-592b-4b90-b7fd-a6a6404b31f9","applicationId":"a","jobPostId":"j",'
        f'"companyName":"MENA Bank","instructions":"{shown}","maxDuration":1800,"status":"READY_TO_JOIN"}}'
    )


@pytest.mark.parametrize("text", TEXTS)
def test_javascript_writes_the_same(text: str) -> None:
    node = shutil.which("node")
    if node is None:
        missing(Missing("no node to run JSON.stringify: install nodejs"))
    metadata = metadata_of(text)
    fields = json.loads(metadata)
    sent = json.dumps({"joinResponse": fields, "phoneNumber": fields.pop("phoneNumber")})
    ran = subprocess.run([node, "-e", PAGE], input=sent.encode(), capture_output=True, check=True, timeout=60)  # noqa: S603
    assert ran.stdout == metadata.encode()
