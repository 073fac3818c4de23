"""The operations of the OpenAPI document, and the setup that tests of all operations need.

A new operation is covered as soon as it is in the document. What the document lacks is defined here: how to create a
resource of a path (MADE), what has to happen before a call succeeds (BEFORE), values of a body that its example cannot
contain (SAID), and parameters that it requires (ASKED). An operation that lacks one of these fails with a message that
names it.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import async_sessionmaker

from app.main import create_app
from tests import livekit_webhooks
from tests.calls import NEW
from tests.conftest import make_settings
from tests.interview_driver import AGENT

Json = dict[str, Any]
Ids = dict[str, str]

GUARDED: dict[str, list[str]] = {"apiKey": []}
BY_WHAT_IT_SHOWS = {"joinInterview", "createToken"}  # candidates have no key; JOIN_POLICY decides who may join
BY_SEVERAL_SCOPES = {"getTranscript"}  # agents read it too
ENDLESS = {"streamChanges"}  # endless responses, which have their own tests


@dataclass(frozen=True)
class Operation:
    """An operation of the document."""

    method: str
    path: str
    about: Json
    page: Json

    def __str__(self) -> str:
        return str(self.about["operationId"])

    @property
    def is_guarded(self) -> bool:
        return GUARDED in self.about.get("security", [])

    @property
    def body(self) -> Json | None:
        """The example of its JSON body; None without a body."""
        content = self.about.get("requestBody", {}).get("content", {})
        found: Json | None = content.get("application/json", {}).get("example")
        return found

    @property
    def body_schema(self) -> Json:
        found: Json = self.about["requestBody"]["content"]["application/json"]["schema"]
        return found

    def parameters(self, place: str) -> list[Json]:
        """The parameters in `path`, `query` or `header`, in the order of the document."""
        found = [each for each in self.about.get("parameters", []) if each["in"] == place]
        return sorted(found, key=lambda each: self.path.find(f"{{{each['name']}}}"))

    @property
    def ids(self) -> list[str]:
        return [each["name"] for each in self.parameters("path")]

    def schema(self, schema: Json) -> Json:
        """Resolve a reference."""
        if reference := schema.get("$ref"):
            found: Json = self.page["components"]["schemas"][reference.rpartition("/")[2]]
            return found
        return schema


def operations() -> list[Operation]:
    """Return all operations in the order of the document."""
    page = create_app(make_settings(), async_sessionmaker()).openapi()
    return [
        Operation(method.upper(), path, about, page)
        for path, methods in page["paths"].items()
        for method, about in methods.items()
    ]


@dataclass(frozen=True)
class Owner:
    """An organization, its key with all scopes, and its resources."""

    client: httpx.AsyncClient
    key: str
    name: str

    async def call(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"} | given.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **given)

    async def made(self, path: str, body: Json | None = None) -> Json:
        answer = await self.call("POST", path, json=body)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    async def new(self, operation: Operation) -> Ids:
        """Create the resources of the path, and do what has to happen before the call."""
        ids: Ids = {}
        for name in operation.ids:
            if name not in MADE:
                raise AssertionError(f"{operation}: say in MADE how a thing is made that {{{name}}} of a path names.")
            ids[name] = await MADE[name](self, ids)
        if before := BEFORE.get(str(operation)):
            await before(self, ids)
        return ids

    async def ask(self, operation: Operation, ids: Ids, *, body: Json | None = None, **given: Any) -> httpx.Response:
        """Make the call, with the example of its body by default."""
        said = body if body is not None else body_of(operation, ids)
        if said is not None:
            given["json"] = said
        if asked := ASKED.get(str(operation)):
            given["params"] = asked(self) | given.get("params", {})
        return await self.call(operation.method, operation.path.format_map(ids), **given)


def body_of(operation: Operation, ids: Ids) -> Json | None:
    """Return a body that the call accepts for these ids."""
    example = operation.body
    if example is None or str(operation) not in SAID:
        return example
    return example | SAID[str(operation)](ids)


async def new_interview(owner: Owner, _: Ids) -> str:
    texts = NEW | {"candidateId": f"candidate-of-{owner.name}", "jobPostId": f"post-of-{owner.name}"}
    made = await owner.made(
        "/interviews", texts | {"participantName": f"Somebody of {owner.name}", "context": {"a": 1}}
    )
    return str(made["interviewId"])


async def new_endpoint(owner: Owner, _: Ids) -> str:
    made = await owner.made("/webhook-endpoints", {"url": "https://8.8.8.8/hook", "description": f"of {owner.name}"})
    return str(made["endpointId"])


async def new_delivery(owner: Owner, ids: Ids) -> str:
    return str((await owner.made(f"/webhook-endpoints/{ids['endpoint_id']}/test"))["deliveryId"])


async def talks(owner: Owner, ids: Ids) -> None:
    """Candidate and agent meet, according to LiveKit's webhooks."""
    found = (await owner.call("GET", f"/interviews/{ids['interview_id']}")).json()
    at = datetime.now(UTC)
    for identity, kind in ((f"candidate-{found['candidateId']}", "STANDARD"), (AGENT, "AGENT")):
        who = livekit_webhooks.participant(f"PA_{identity}_{found['interviewId']}", identity, joined_at=at, kind=kind)
        event = livekit_webhooks.event("participant_joined", room=found["roomName"], at=at, participant=who)
        body = livekit_webhooks.encode(event)
        answer = await owner.client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
        assert answer.json() == {"result": "recorded"}


async def reached(owner: Owner, ids: Ids) -> None:
    path = f"/interviews/{ids['interview_id']}/checkpoint"
    body = {"roomName": f"interview-{ids['interview_id']}", "agent": AGENT, "sequence": 1, "state": {}}
    assert (await owner.call("PUT", path, json=body)).status_code == 204


async def cancelled(owner: Owner, ids: Ids) -> None:
    await owner.made(f"/interviews/{ids['interview_id']}/cancel")


MADE: dict[str, Callable[[Owner, Ids], Awaitable[str]]] = {
    "interview_id": new_interview,
    "endpoint_id": new_endpoint,
    "delivery_id": new_delivery,
}
BEFORE: dict[str, Callable[[Owner, Ids], Awaitable[None]]] = {
    "completeInterview": talks,
    "getCheckpoint": reached,
    "reopenInterview": cancelled,
    "erasePersonalData": cancelled,
}
SAID: dict[str, Callable[[Ids], Json]] = {
    **dict.fromkeys(
        ("completeInterview", "appendTranscript", "storeCheckpoint"),
        lambda ids: {"roomName": f"interview-{ids['interview_id']}"},
    ),
    "createWebhookEndpoint": lambda _: {"url": "https://8.8.8.8/hook"},  # an IP address needs no DNS
    "updateWebhookEndpoint": lambda _: {"url": "https://8.8.8.8/hook"},
}


ASKED: dict[str, Callable[[Owner], Json]] = {
    "getCandidatesPersonalData": lambda owner: {"candidateId": f"candidate-of-{owner.name}"}
}


def texts_of(operation: Operation) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each text in the body: keys and indexes."""
    if operation.body is not None:
        yield from _texts(operation, operation.body_schema, ())


def _texts(operation: Operation, schema: Json, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    schema = operation.schema(schema)
    kinds = [operation.schema(each) for each in (schema, *schema.get("anyOf", []))]
    if any(kind.get("type") == "string" for kind in kinds) or not ({"type", "anyOf", "$ref"} & schema.keys()):
        yield place  # a schema without a type accepts any value
    for kind in kinds:
        for name, inner in kind.get("properties", {}).items():
            yield from _texts(operation, inner, (*place, name))
        if "items" in kind:
            yield from _texts(operation, kind["items"], (*place, 0))
