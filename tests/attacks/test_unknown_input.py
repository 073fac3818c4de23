"""Every call refuses what it does not have: query parameters, fields of a body, a body where none belongs."""

from typing import Any

import httpx
import pytest

from app.api.dependencies import BodyReader
from app.api.routes import ApiRoute
from app.api.token import TokenRequest
from app.main import ROUTERS
from tests.attacks.conftest import Sessions, everything
from tests.attacks.document import MADE, Operation, Owner, body_of, operations

# Called by LiveKit, load balancers and scrapers, which may add parameters of their own.
TAKE_ANYTHING = {"receiveLiveKitWebhook", "isLive", "isReady", "getMetrics"}
ALL = operations()
REFUSING = [each for each in ALL if str(each) not in TAKE_ANYTHING]
WITH_BODY = [each for each in REFUSING if each.body is not None and str(each) != "createToken"]
WITHOUT_BODY = [each for each in REFUSING if each.method != "GET" and "requestBody" not in each.about]


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_invalid"), answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("operation", REFUSING, ids=str)
async def test_an_unknown_parameter_is_refused(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    before = await everything(sessions)
    for query in ({"unknown": ["1", "2"]}, {"unknown": ""}):
        refused = await owner.ask(operation, ids, params=query)
        assert errors_of(refused) == {"unknown": "is not a field of this call: leave it out"}
    assert await everything(sessions) == before


async def test_only_calls_of_machines_take_any_parameter(client: httpx.AsyncClient) -> None:
    assert {str(each) for each in ALL} >= TAKE_ANYTHING
    for path in ("/health/live", "/health/ready", "/metrics", "/", "/docs", "/openapi.json"):
        assert (await client.get(f"{path}?fbclid=IwAR0&utm_source=x")).status_code == 200
    unsigned = await client.post("/webhooks/livekit?from=livekit")
    assert unsigned.json()["code"] == "webhook_not_signed"


@pytest.mark.parametrize(
    ("path", "sent", "meant"),
    [
        ("/interviews", "updated_since", "updatedSince"),
        ("/interviews", "jobpostid", "jobPostId"),
        ("/interviews/summary", "job_post_id", "jobPostId"),
        ("/interviews/stream", "last-event-id", "lastEventId"),
        ("/webhook-endpoints", "limits", "limit"),
    ],
)
async def test_the_parameter_that_was_meant_is_named(owner: Owner, path: str, sent: str, meant: str) -> None:
    refused = await owner.call("GET", path, params={sent: "x"})
    assert errors_of(refused) == {sent: f'is not a field of this call; did you mean "{meant}"?'}


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_an_unknown_field_is_refused(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    before = await everything(sessions)
    refused = await owner.ask(operation, ids, body=(body_of(operation, ids) or {}) | {"unknown": 1})
    assert errors_of(refused)["unknown"] == "is not a field of this call: leave it out"
    assert await everything(sessions) == before


@pytest.mark.parametrize("operation", WITHOUT_BODY, ids=str)
async def test_a_call_without_a_body_takes_an_empty_one_only(
    operation: Operation,
    owner: Owner,
    sessions: Sessions,
) -> None:
    ids = await owner.new(operation)
    before = await everything(sessions)
    for content, errors in (
        (b'{"reason": "why"}', {"reason": "is not a field of this call: leave it out"}),
        (b"[]", {"body": "must be a JSON object"}),
        (b"no json", {"body": "must be JSON"}),
    ):
        assert errors_of(await owner.ask(operation, ids, content=content)) == errors
    assert await everything(sessions) == before
    assert (await owner.ask(operation, ids, content=b" {} ")).is_success


def test_every_model_of_a_body_refuses_unknown_fields() -> None:
    """But LiveKit's TokenSourceRequest, to which a newer client may add fields."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, ApiRoute)]
    calls = [each.call for route in routes for each in route.dependant.dependencies]
    models = {call.shape for call in calls if isinstance(call, BodyReader)}
    assert {model for model in models if model.model_config.get("extra") != "forbid"} == {TokenRequest}


@pytest.mark.parametrize("key", ["phone", "phone_number", "phonenumber"])
async def test_a_join_names_the_field_that_was_meant(owner: Owner, key: str) -> None:
    path = f"/interviews/{await MADE['interview_id'](owner, {})}/join"
    refused = await owner.client.post(path, json={key: "966509876543"})
    assert errors_of(refused) == {key: 'is not a field of this call; did you mean "phoneNumber"?'}


@pytest.mark.parametrize("body", [{"room_name": None}, {"agent_name": ""}, {"future": {"a": [1]}}, {"futureField": 1}])
async def test_livekits_clients_may_send_fields_of_their_own(owner: Owner, body: dict[str, Any]) -> None:
    path = f"/interviews/{await MADE['interview_id'](owner, {})}/token"
    assert (await owner.client.post(path, json=body)).status_code == 201
