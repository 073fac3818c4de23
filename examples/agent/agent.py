"""An interviewer that speaks. `python agent.py start` takes jobs until it is stopped; README.md has the settings."""

from __future__ import annotations

import logging
import os

from interview_agent import Interview, InterviewPlan, PlanError, accept_request, on_session_end, setup
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, inference
from livekit.agents.types import NOT_GIVEN
from livekit.agents.voice.room_io import RoomOptions

from conversation import Conversation
from hearing import ForgivingSTT, Hearing
from interviewer import Interviewer
from models import load

logger = logging.getLogger("interviewer")

SERVICE = os.environ.get("INTERVIEWS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("INTERVIEWS_KEY", "ik_local")
AGENT_NAME = os.environ.get("AGENT_NAME", "interviewer")
MAX_JOBS = int(os.environ.get("MAX_JOBS", "4"))


def load_by_jobs(server: AgentServer) -> float:
    """Return how full this worker is. The default looks at the CPU, and a busy laptop would get no job at all."""
    return min(len(server.active_jobs) / MAX_JOBS, 1.0)


server = AgentServer(
    setup_fnc=setup(service=SERVICE, key=KEY),
    host=os.environ.get("AGENT_HOST", "127.0.0.1"),  # of the health endpoint; the default is every interface
    port=int(os.environ.get("AGENT_PORT", "8081")),
    num_idle_processes=1,  # a cold process takes 24 seconds to its first word
    load_fnc=load_by_jobs,
    load_threshold=1.0,
)


@server.rtc_session(agent_name=AGENT_NAME, on_request=accept_request, on_session_end=on_session_end)
async def entrypoint(ctx: JobContext) -> None:
    async with Interview.join(ctx) as interview:
        plan = read_plan(interview)
        interviewer = Interviewer(interview.metadata, plan, interview.saved_state)
        speech = load(interviewer.texts.language)
        recognition = ForgivingSTT(speech.stt) if speech.stt else None
        session: AgentSession[None] = AgentSession(
            vad=inference.VAD(),
            stt=recognition or NOT_GIVEN,
            tts=speech.tts,
            turn_handling={"turn_detection": "manual"},
            user_away_timeout=None,
        )
        hearing = Hearing(session, has_text=recognition is not None)
        await session.start(
            Agent(instructions=""),
            room=ctx.room,
            room_options=RoomOptions(
                participant_identity=interview.candidate_identity,
                close_on_disconnect=False,  # or a reload of the candidate's page would end the interview
                text_input=False,
            ),
            record=False,
        )
        await Conversation(interview, session, hearing, interviewer, plan, speech, recognition).run()


def read_plan(interview: Interview) -> InterviewPlan:
    """Return the context as a plan. One of another shape is no reason to send the candidate away."""
    try:
        return InterviewPlan.parse(interview.context)
    except PlanError as error:
        logger.error("%s The questions are chosen by the job title instead.", error)
        return InterviewPlan()


if __name__ == "__main__":
    cli.run_app(server)
