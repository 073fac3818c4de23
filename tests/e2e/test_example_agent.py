"""The example agent holds spoken interviews: a real worker, LiveKit server and service, and a candidate that speaks."""

import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conditions import eventually
from tests.e2e.example_agent import AGENT_NAME, FOLDER, AgentWorker, SpokenCandidate, find_python
from tests.e2e.outages import OwnStack
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack
from tests.e2e.toolchain import Missing, missing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LONG = 300.0  # seconds: two questions take 45 on a quiet machine
PLANS: dict[str, dict[str, Any]] = {
    "en": {
        "language": "en",
        "questions": [{"id": "why", "text": "Why do you bake?"}, {"id": "best", "text": "What is your best bread?"}],
        "disclosure": "Hello. I am an AI.",
    },
    "ar": {
        "language": "ar",
        "questions": [{"id": "why", "text": "لماذا تخبز؟"}],
        "disclosure": "مرحبا. أنا محاور آلي.",
    },
}


@pytest.fixture(scope="module")
def agent_python() -> Path:
    try:
        return find_python()
    except Missing as reason:
        missing(reason)


def test_its_own_tests(agent_python: Path) -> None:
    ran = subprocess.run(  # noqa: S603 - our own program
        [str(agent_python), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]


async def test_spoken_interviews_in_two_languages_at_once(
    agent_python: Path, own_stack: OwnStack, tmp_path: Path
) -> None:
    """Each asks only its own questions, stores what was said, and reports a scorecard."""
    with own_stack(AGENT_NAME=AGENT_NAME) as stack, ExitStack() as stopping:
        platform, worker = Platform(stack.service), AgentWorker(stack, tmp_path)
        stopping.callback(worker.stop)
        worker.start()
        held = [await begin(stack, platform, language, tmp_path, stopping) for language in PLANS]
        try:
            for interview in held:
                await eventually(partial(is_over, platform, interview), within=LONG)
            for language, interview in zip(PLANS, held, strict=True):
                await check(platform, interview, PLANS[language])
        except AssertionError as error:
            error.add_note(worker.log)
            raise
        finally:
            await platform.aclose()


async def begin(stack: Stack, platform: Platform, language: str, folder: Path, stopping: ExitStack) -> str:
    """Schedule an interview, and let its candidate join. Return its id."""
    made = await platform.schedule(context=PLANS[language], jobTitle="Baker", companyName="Flour")
    candidate = SpokenCandidate(stack, made["interviewId"], folder / f"{language}.log", language=language)
    candidate.start()
    stopping.callback(candidate.stop)
    return str(made["interviewId"])


async def is_over(platform: Platform, interview_id: str) -> bool:
    status, _ = await platform.status(interview_id)
    return status not in ("READY_TO_JOIN", "WAITING_FOR_AGENT", "IN_PROGRESS", "RECONNECTING")


async def check(platform: Platform, interview_id: str, plan: dict[str, Any]) -> None:
    found = await platform.read(interview_id)
    assert (found["status"], found["endReason"]) == ("COMPLETED", "AGENT_REPORTED")
    result = found["result"]
    assert (result["schema"], result["language"]) == ("interview.scorecard/1", plan["language"])
    texts = [question["text"] for question in plan["questions"]]
    assert [question["text"] for question in result["questions"]] == texts
    assert all(question["heardSeconds"] > 0 for question in result["questions"])
    assert found["summary"] == f"{len(texts)} of {len(texts)} questions were answered."
    lines = await platform.transcript(interview_id)
    assert len(lines) == found["transcriptLines"]
    assert lines[0]["text"].startswith(plan["disclosure"])
    spoken = [line["text"] for line in lines if line["speaker"] == "agent"]
    assert [sum(text in each for each in spoken) for text in texts] == [1] * len(texts)
    others = {question["text"] for other in PLANS.values() for question in other["questions"]} - set(texts)
    assert not [text for text in others if any(text in each for each in spoken)]
    assert {line["speaker"] for line in lines} == {"agent", "candidate"}
