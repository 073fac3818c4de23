"""What an AgentServer of LiveKit Agents is given: one client a process, `pending` from the start, a last report."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from interview_agent.client import InterviewClient
from interview_agent.outcome import ATTRIBUTE, PENDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import JobContext, JobProcess, JobRequest

CLIENT = "interview_agent.client"  # keys of JobProcess.userdata
INTERVIEW = "interview_agent.interview"


def setup(*, service: str, key: str) -> Callable[[JobProcess], Any]:
    """Return a `setup_fnc` for AgentServer, which makes the process's client before the first job comes."""
    return partial(_make_client, service, key)


def _make_client(service: str, key: str, process: JobProcess) -> None:
    process.userdata[CLIENT] = InterviewClient(service, key)


async def accept_request(request: JobRequest) -> None:
    """Accept a job as an agent that reports its outcome. Pass it as `rtc_session(on_request=...)`.

    The attribute is there from the agent's first moment in the room. Without it a crash counts as a normal end.
    """
    await request.accept(attributes={ATTRIBUTE: PENDING})


async def on_session_end(ctx: JobContext) -> None:
    """Send what the entrypoint could not: lines, the outcome. Pass it as `rtc_session(on_session_end=...)`.

    LiveKit Agents waits five minutes for it. The entrypoint has some 15 seconds after the room is gone.
    """
    interview = ctx.proc.userdata.pop(INTERVIEW, None)
    if interview is not None:
        await interview.send_unsent()
