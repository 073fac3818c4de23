"""The hiring platform: schedules interviews and reads them, by the service's HTTP API."""

from collections.abc import Mapping
from typing import Any

import httpx

from tests.e2e.service import Service

# The seed's example, but for the interviewId, which is ours to give.
SEED_INTERVIEW: Mapping[str, object] = {
    "candidateId": "59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    "applicationId": "1e526d64-f4e5-4353-a69f-9642959e8236",
    "jobPostId": "306bfccd-5030-46bb-b468-e5027a073b4a",
    "jobTitle": "Senior Backend Developer - Fintech",
    "companyName": "MENA Bank",
    "phoneNumber": "966509876543",
}
# What the agent is to find, as the seed writes it.
SEED_METADATA: Mapping[str, object] = {
    **SEED_INTERVIEW,
    "participantName": "Candidate",
    "instructions": "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. Please speak "
    "clearly and answer all questions to the best of your ability.",
    "maxDuration": 1800,
    "status": "READY_TO_JOIN",
}


class Platform:
    """Make it of a running service; it is closed by `aclose()`."""

    def __init__(self, service: Service) -> None:
        self._client = httpx.AsyncClient(base_url=service.url, timeout=10)
        self._key = {"Authorization": f"Bearer {service.api_key}"}

    async def aclose(self) -> None:
        await self._client.aclose()

    async def schedule(self, **more: object) -> dict[str, Any]:
        answer = await self._client.post("/interviews", headers=self._key, json={**SEED_INTERVIEW, **more})
        return self._ok(answer, 201)

    async def join(self, interview_id: str) -> dict[str, Any]:
        """Return the joinResponse; it is the candidate's frontend that asks for it, so without a key."""
        return self._ok(await self._client.post(f"/interviews/{interview_id}/join"), 200)

    async def read(self, interview_id: str) -> dict[str, Any]:
        return self._ok(await self._client.get(f"/interviews/{interview_id}", headers=self._key), 200)

    async def status(self, interview_id: str) -> tuple[str, str | None]:
        found = await self.read(interview_id)
        return found["status"], found["endReason"]

    @staticmethod
    def _ok(answer: httpx.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found
