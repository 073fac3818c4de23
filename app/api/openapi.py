"""Completes and corrects FastAPI's OpenAPI document, for every operation alike."""

import functools
from collections.abc import Iterator
from typing import Any

import orjson
from fastapi import FastAPI

from app.api.examples import example_of
from app.api.problems import Problem, codes, error_response, error_responses, examples_of
from app.api.rate_limits import HEADERS, UNLIMITED
from app.api.schemas import ParticipantMetadata
from app.api.webhook_events import example_of_event
from app.core.errors import RateLimited

Json = dict[str, Any]

COMPONENTS = "#/components/schemas/"
SERVERS = [{"url": "/", "description": "This service"}]
TAGS = [
    {"name": "candidate", "description": "Called by a candidate's frontend. JOIN_POLICY decides who may join."},
    {"name": "recruiter", "description": "Called by recruiters and hiring platforms with an API key."},
    {"name": "agent", "description": "Called by the AI interviewer with an API key that has the scope `agent`."},
    {"name": "LiveKit", "description": "Called by the LiveKit server, signed with its key."},
    {"name": "operator", "description": "Called by an operator's monitoring."},
    {"name": "webhooks", "description": "Webhook endpoints, and the events sent to them by Standard Webhooks."},
]

LIMITS: dict[str, Json] = {
    "RateLimit": {
        "description": "For each limit: `r` requests left, `t` seconds until the window resets "
        "(draft-ietf-httpapi-ratelimit-headers)",
        "schema": {"type": "string"},
        "example": '"address";r=59998;t=42, "key";r=29998;t=17',
    },
    "RateLimit-Policy": {
        "description": "For each limit: `q` requests per window of `w` seconds",
        "schema": {"type": "string"},
        "example": '"address";q=60000;w=60, "key";q=30000;w=60',
    },
    "Retry-After": {
        "description": "Seconds to wait before retrying",
        "schema": {"type": "integer", "minimum": 0},
        "example": 42,
    },
}


def install(app: FastAPI) -> None:
    """Make the app serve the finished document."""
    generate = app.openapi
    app.openapi = functools.cache(lambda: _finished(generate()))  # type: ignore[method-assign] # as in FastAPI's documentation


def _finished(page: Json) -> Json:
    schemas = page["components"]["schemas"]
    _document_limits(page)
    for model in (Problem, ParticipantMetadata):  # no route names them
        named(model.model_json_schema(mode="serialization", ref_template=COMPONENTS + "{model}"), schemas)
    schemas["ProblemCode"] = {"type": "string", "enum": codes(), "description": "The codes of this release's errors"}
    for operation in _operations(page):
        for status, answer in list(operation["responses"].items()):
            if "HTTPValidationError" in str(answer):  # FastAPI documents it for an invalid id in the path
                del operation["responses"][status]
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
        for content in _contents(operation):
            content["schema"] = named(content["schema"], schemas)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, methods in page["webhooks"].items():
        methods["post"]["requestBody"]["content"]["application/json"]["example"] = example_of_event(name)
    for operation in _operations(page):
        operation["responses"] = dict(sorted(operation["responses"].items()))
        for answer in operation["responses"].values():
            if answer["description"] == "Successful Response":  # FastAPI's default
                answer["description"] = operation["summary"]
        for content in _contents(operation):
            if "examples" not in content and content["schema"]:
                content.setdefault("example", example_of(content["schema"], schemas))
    return page


def _operations(page: Json) -> Iterator[Json]:
    for section in ("paths", "webhooks"):
        for methods in page.get(section, {}).values():
            yield from methods.values()


def _contents(operation: Json) -> Iterator[Json]:
    """Yield the JSON contents of the operation's request and responses."""
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from (content for kind, content in holder.get("content", {}).items() if kind.endswith("json"))


def _document_limits(page: Json) -> None:
    """Document the rate limits of all calls that have them."""
    page["components"]["headers"] = LIMITS
    limited = examples_of(error_responses(RateLimited)[RateLimited.status])
    for operation in [each for path in page["paths"].keys() - UNLIMITED for each in page["paths"][path].values()]:
        refused = error_response({**examples_of(operation["responses"].get("429")), **limited})
        operation["responses"]["429"] = {**refused, "headers": _header("Retry-After")}
        for answer in operation["responses"].values():
            answer["headers"] = {**answer.get("headers", {}), **_header(*HEADERS)}


def _header(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _without_null(schema: Json) -> Json:
    """Return a parameter's schema without null, which a URL can't express."""
    others = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(others) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **others[0]}


def named(schema: Json, schemas: Json) -> Json:
    """Move the inline model and those inside it to the components, and return a reference to it."""
    if "title" not in schema or schema.get("type") != "object":
        return schema
    model = {key: value for key, value in schema.items() if key != "$defs"}
    for name, definition in {**schema.get("$defs", {}), model["title"]: model}.items():
        if schemas.setdefault(name, definition := _optional(definition)) != definition:
            raise ValueError(
                f"{name} has two shapes in the document: a request's model and a response's need two names"
            )
    return {"$ref": COMPONENTS + model["title"]}


def _optional(model: Json) -> Json:
    """Return a request's model with defaults moved to the descriptions: generators require fields with a default."""
    if "properties" not in model:
        return model
    return {**model, "properties": {name: _describe_default(each) for name, each in model["properties"].items()}}


def _describe_default(schema: Json) -> Json:
    if "default" not in schema:
        return schema
    described = {key: value for key, value in schema.items() if key != "default"}
    if schema["default"] is not None:
        words = f"default: {orjson.dumps(schema['default']).decode()}"
        described["description"] = "; ".join(filter(None, [schema.get("description"), words]))
    return described
