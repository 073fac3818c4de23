"""The hiring platform: schedules interviews and reads them, by the service's HTTP API."""

from collections.abc import Mapping
from typing import Any

import httpx

from tests.e2e.service import Service

# The seed's example without interviewId, which the service assigns.
SEED_INTERVIEW: Mapping[str, object] = {
    "candidateId": "59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    "applicationId": "1e526d64-f4e5-4353-a69f-9642959e8236",
    "jobPostId": "306bfccd-5030-46bb-b468-e5027a073b4a",
    "jobTitle": "Senior Backend Developer - Fintech",
    "companyName": "MENA Bank",
    "phoneNumber": "966509876543",
}
# What the agent must receive, in the seed's form.
SEED_METADATA: Mapping[str, object] = {
    **SEED_INTERVIEW,
    "participantName": "Candidate",
    "instructions": "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. Please speak "
    "clearly and answer all questions to the best of your ability.",
    "maxDuration": 1800,
    "status": "READY_TO_JOIN",
}


class Platform:
    """A client of a running service; close it with `aclose()`."""

    def __init__(self, service: Service) -> None:
        self._client = httpx.AsyncClient(base_url=service.url, timeout=60)
        self._key = {"Authorization": f"Bearer {service.api_key}"}

    async def aclose(self) -> None:
        await self._client.aclose()

    async def schedule(self, **more: object) -> dict[str, Any]:
        answer = await self._client.post("/interviews", headers=self._key, json={**SEED_INTERVIEW, **more})
        return self._ok(answer, 201)

    async def join(self, interview_id: str) -> dict[str, Any]:
        """Return the joinResponse, requested without a key as by the candidate's frontend."""
        return self._ok(await self._client.post(f"/interviews/{interview_id}/join"), 200)

    async def read(self, interview_id: str) -> dict[str, Any]:
        return self._ok(await self._client.get(f"/interviews/{interview_id}", headers=self._key), 200)

    async def status(self, interview_id: str) -> tuple[str, str | None]:
        found = await self.read(interview_id)
        return found["status"], found["endReason"]

    async def refused(self, interview_id: str) -> dict[str, Any]:
        """Return the problem of a join that is refused with 409."""
        return self._ok(await self._client.post(f"/interviews/{interview_id}/join"), 409)

    async def cancel(self, interview_id: str) -> dict[str, Any]:
        return self._ok(await self._client.post(f"/interviews/{interview_id}/cancel", headers=self._key), 200)

    async def reopen(self, interview_id: str, **how: object) -> dict[str, Any]:
        answer = await self._client.post(f"/interviews/{interview_id}/reopen", headers=self._key, json=how)
        return self._ok(answer, 200)

    async def complete(self, interview_id: str, room: str, outcome: str, **more: object) -> dict[str, Any]:
        """Report as the agent does, here with the platform's key."""
        report = {"roomName": room, "outcome": outcome, **more}
        answer = await self._client.post(f"/interviews/{interview_id}/complete", headers=self._key, json=report)
        return self._ok(answer, 200)

    async def timeline(self, interview_id: str) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        return await self._all_pages(f"/interviews/{interview_id}/timeline")

    async def transcript(self, interview_id: str) -> list[dict[str, Any]]:
        """Return all lines of the current attempt, in order."""
        return await self._all_pages(f"/interviews/{interview_id}/transcript")

    async def _all_pages(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self._ok(await self._client.get(path, headers=self._key, params=cursor), 200)
            found += page["data"]
            if page["nextCursor"] is None:
                return found
            cursor = {"cursor": page["nextCursor"]}

    async def metric(self, sample: str) -> float:
        """Return a sample of GET /metrics by its `name{label="value"}`; 0 if it does not exist."""
        answer = await self._client.get("/metrics")
        found = [line.rpartition(" ")[2] for line in answer.text.splitlines() if line.startswith(f"{sample} ")]
        return float(found[0]) if found else 0.0

    @staticmethod
    def _ok(answer: httpx.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found
