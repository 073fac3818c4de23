"""The OpenAPI document, the manual of frontend developers and platforms, has every error and no other."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.openapi import named
from app.api.problems import MEDIA_TYPE, Problem
from app.api.webhook_events import TYPES
from app.core import errors
from app.core.errors import AppError
from app.models import Change, ChangeType, Delivery
from app.webhooks.payload import TEST, body_of, payload_of

LIVEKITS_OWN = {"TokenRequest", "TokenResponse"}  # the format of its standard token endpoint
WITHOUT_DATABASE = {"isLive", "getMetrics"}


def subclasses(of: type[AppError]) -> Iterator[type[AppError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


BEFORE_ANY_CALL = {"headers_too_large", "host_not_allowed", "request_invalid"}
CODES = {each.code: each for each in subclasses(AppError) if each is not errors.Refused}
TEXTS = {(each.code, each.title, each.detail) for each in subclasses(AppError) if each is not errors.Refused}


@pytest.fixture
def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def examples(operation: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the status, name and example of each documented error."""
    for status, response in operation["responses"].items():
        if status >= "400":
            for name, example in response["content"][MEDIA_TYPE]["examples"].items():
                yield int(status), name, example["value"]


def test_operation_ids_and_summaries(operations: dict[str, dict[str, Any]]) -> None:
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(each.isidentifier() and each[0].islower() for each in ids)
    for operation in operations.values():
        assert operation["summary"]
        assert operation["tags"]


def test_error_examples_are_problems_with_known_codes(app: FastAPI, operations: dict[str, dict[str, Any]]) -> None:
    seen = set()
    for operation in operations.values():
        for status, name, example in examples(operation):
            problem = Problem.model_validate(example)
            error = CODES[name]
            assert (problem.code, problem.status) == (name, status) == (error.code, error.status)
            assert (problem.code, problem.title, problem.detail) in TEXTS
            seen.add(name)
    assert seen == CODES.keys() - BEFORE_ANY_CALL
    assert all(f"`{name}`" in app.description for name in BEFORE_ANY_CALL)


def test_the_codes_are_listed_for_clients_and_problems_may_have_later_ones(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["ProblemCode"]["enum"] == sorted(CODES.keys() | {"not_found", "method_not_allowed"})
    assert schemas["Problem"]["properties"]["code"]["type"] == "string"
    assert "enum" not in schemas["Problem"]["properties"]["code"]  # a generated client would refuse a later code


def test_every_error_answer_is_documented_as_a_problem(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            if status >= "400":
                assert response["description"], (name, status)
                assert response["content"].keys() == {MEDIA_TYPE}, (name, status)
                assert response["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_the_page_holds_nothing_of_fastapis_own_errors(app: FastAPI) -> None:
    assert "ValidationError" not in str(app.openapi())
    assert app.openapi() == app.openapi()


def test_every_call_that_needs_the_database_may_answer_503(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        documented = {code for _, code, _ in examples(operation)}
        assert ("database_unavailable" in documented) == (operation["operationId"] not in WITHOUT_DATABASE), name


def test_calls_that_need_a_key_document_401_and_403(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        documented = {code for _, code, _ in examples(operation)}
        guarded = {"apiKey": []} in operation.get("security", [])
        assert ("unauthorized" in documented) == guarded, name
        assert ("missing_scope" in documented) == guarded, name
        assert ("interview_not_found" in documented) == ("{interview_id}" in name), name


def test_every_property_of_the_wire_is_camel_case(app: FastAPI) -> None:
    for name, schema in app.openapi()["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            assert name in LIVEKITS_OWN or "_" not in field, (name, field)


def test_each_code_is_used_once() -> None:
    variants = {errors.InterviewNotFoundByCandidate}  # of the same code and status
    assert len(CODES) == len([each for each in subclasses(AppError) if each not in {errors.Refused, *variants}])
    assert {each.code for each in variants} <= CODES.keys()
    for code, error in CODES.items():
        assert code == code.lower()
        assert 400 <= error.status < 600
        assert error.detail.endswith(".")


def conforms(page: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    """Raise unless the value is valid for the schema, which refers to the document's components."""
    Draft202012Validator({**schema, "components": page["components"]}).validate(value)


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the JSON contents of requests and responses, except problems."""
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        for kind, content in holder.get("content", {}).items():
            if kind.endswith("json") and kind != MEDIA_TYPE:
                yield content


def test_the_document_is_valid(app: FastAPI) -> None:
    page = app.openapi()
    assert page["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(page).validate()
    for schema in page["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert "$defs" not in str(page)
    # pydantic leaves these in a schema, where they mean nothing, if a validator stands between type and constraint
    assert not re.search(r"'(ge|gt|le|lt|min_length|max_length)':", str(page))


def test_every_body_is_a_named_model_with_a_valid_example(app: FastAPI, operations: dict[str, dict[str, Any]]) -> None:
    page = app.openapi()
    sent = [each["post"] for each in page["webhooks"].values()]
    for operation in (*operations.values(), *sent):
        for content in contents(operation):
            assert content["schema"].keys() == {"$ref"}, operation["operationId"]
            given = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
            for example in given:
                conforms(page, content["schema"], example)


def test_every_error_example_is_what_the_schema_says(app: FastAPI, operations: dict[str, dict[str, Any]]) -> None:
    page = app.openapi()
    for operation in operations.values():
        for _, _, example in examples(operation):
            conforms(page, {"$ref": "#/components/schemas/Problem"}, example)
        assert "internal_error" in {name for _, name, _ in examples(operation)}


def test_every_model_and_every_tag_is_described(app: FastAPI, operations: dict[str, dict[str, Any]]) -> None:
    page = app.openapi()
    described = {tag["name"] for tag in page["tags"] if tag["description"].endswith(".")}
    used = {tag for operation in operations.values() for tag in operation["tags"]}
    assert used <= described
    assert [name for name, schema in page["components"]["schemas"].items() if not schema.get("type")] == ["JsonValue"]
    assert all(scheme["description"] for scheme in page["components"]["securitySchemes"].values())
    assert page["info"].keys() >= {"title", "version", "summary", "description"}
    assert page["servers"][0]["url"] == "/"


def test_no_parameter_of_a_url_can_be_null(operations: dict[str, dict[str, Any]]) -> None:
    for operation in operations.values():
        for parameter in operation.get("parameters", []):
            assert "null" not in str(parameter["schema"]), operation["operationId"]


def test_a_model_of_two_shapes_is_refused() -> None:
    schemas = {"Both": {"title": "Both", "type": "object", "properties": {}}}
    other = {"title": "Both", "type": "object", "properties": {"a": {"type": "string"}}}
    with pytest.raises(ValueError, match="Both has two shapes"):
        named(other, schemas)


def test_webhook_payloads_match_their_schemas(app: FastAPI) -> None:
    page = app.openapi()
    assert page["webhooks"].keys() == {*ChangeType, TEST}
    assert TYPES.keys() == set(ChangeType)
    for type_, methods in page["webhooks"].items():
        body = methods["post"]["requestBody"]["content"]["application/json"]
        assert body["example"]["type"] == type_
        headers = {each["name"] for each in methods["post"]["parameters"] if each["in"] == "header"}
        assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        for sent in sent_of(type_):
            conforms(page, body["schema"], sent)
            with pytest.raises(ValidationError, match="Additional properties"):
                conforms(page, body["schema"], {**sent, "phoneNumber": "966509876543"})


def sent_of(type_: str) -> list[dict[str, object]]:
    """Return payloads of that type, as the sender builds them."""
    if type_ == TEST:
        tested = Delivery(id=uuid.uuid4(), endpoint_id=uuid.uuid4(), created_at=datetime.now(UTC))
        return [json.loads(body_of(tested, None))]
    ended = change(type_, previous_status="IN_PROGRESS", end_reason="AGENT_LEFT")
    return [payload_of(change(type_)), payload_of(ended)]


def change(type_: str, **more: str) -> Change:
    return Change(
        type=type_,
        at=datetime.now(UTC),
        interview_id=uuid.uuid4(),
        status="COMPLETED",
        attempt=1,
        sequence=2,
        **more,
    )
