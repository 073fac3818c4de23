"""The example agent as its worker, and a candidate that speaks, in their own environment."""

import shutil
import signal
from pathlib import Path

from tests.e2e.processes import Process, clean_environment, free_port
from tests.e2e.stack import Stack
from tests.e2e.toolchain import ROOT, Missing

FOLDER = ROOT / "examples" / "agent"
PYTHON = FOLDER / ".venv" / "bin" / "python"
AGENT_NAME = "interviewer"


def find_python() -> Path:
    """Return the Python of the example agent's environment. Raises Missing."""
    if not PYTHON.exists():
        raise Missing("the example agent has no environment: run `make agent-venv`")
    if shutil.which("espeak-ng") is None:
        raise Missing("no espeak-ng: install it, for example by `apt-get install espeak-ng`")
    return PYTHON


class AgentWorker:
    """`python agent.py start`: takes jobs of the stack's LiveKit server until it is stopped."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._process = Process(
            [str(PYTHON), "agent.py", "start"],
            env=clean_environment(
                LIVEKIT_URL=stack.livekit.ws_url,
                LIVEKIT_API_KEY=stack.livekit.api_key,
                LIVEKIT_API_SECRET=stack.livekit.api_secret,
                INTERVIEWS_URL=stack.service.url,
                INTERVIEWS_KEY=stack.service.api_key,
                AGENT_NAME=AGENT_NAME,
                AGENT_PORT=str(free_port()),
            ),
            cwd=FOLDER,
            log=folder / "agent.log",
        )

    def start(self) -> None:
        """Return once it takes jobs, and has a process that is warm for the first one."""
        self._process.start()
        self._process.wait_until(self._is_ready, within=150)

    def _is_ready(self) -> bool:
        return all(sign in self._process.output for sign in ("registered worker", "process initialized"))

    def stop(self) -> None:
        self._process.send(signal.SIGTERM)
        if self._process.wait(60) is None:
            self._process.kill()

    @property
    def log(self) -> str:
        return self._process.log_tail(200)


class SpokenCandidate:
    """`python candidate.py`: joins by the service's API, and answers aloud after each pause of the agent."""

    def __init__(self, stack: Stack, interview_id: str, log: Path, *, language: str) -> None:
        self._process = Process(
            [str(PYTHON), "candidate.py", stack.service.url, interview_id, "--language", language],
            env=clean_environment(),
            cwd=FOLDER,
            log=log,
        )

    def start(self) -> None:
        self._process.start()

    def stop(self) -> None:
        self._process.kill()
