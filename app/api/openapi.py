"""The OpenAPI document, finished: what FastAPI can't know or says otherwise than the service does.

Everything here goes over the whole document, so that a new call is treated like the others.
"""

import functools
from collections.abc import Iterator
from typing import Any

import orjson
from fastapi import FastAPI

from app.api.examples import example_of
from app.api.problems import MEDIA_TYPE, error_responses
from app.api.rate_limits import HEADERS, UNLIMITED
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
    {
        "name": "webhooks",
        "description": "Webhook endpoints, and the events sent to them according to Standard Webhooks.",
    },
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
    """Finish the app's document, once."""
    made = app.openapi
    app.openapi = functools.cache(lambda: _finished(made()))  # type: ignore[method-assign] # as FastAPI's manual has it


def _finished(page: Json) -> Json:
    schemas = page["components"]["schemas"]
    _tell_of_limits(page)
    for operation in _operations(page):
        _tell_of_problems(operation)
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
            if answer["description"] == "Successful Response":  # FastAPI's words
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
    """Each JSON body that the operation takes or gives."""
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from (content for kind, content in holder.get("content", {}).items() if kind.endswith("json"))


def _tell_of_problems(operation: Json) -> None:
    """Give errors the media type that they have, and take out the 422 that FastAPI thinks an odd path would get."""
    for status, answer in list(operation["responses"].items()):
        content = answer.get("content", {})
        if MEDIA_TYPE in content:  # FastAPI puts the model under the type that the call's own answer has
            for kind in content.keys() - {MEDIA_TYPE}:
                content[MEDIA_TYPE] |= content.pop(kind)
        elif "HTTPValidationError" in str(content):
            del operation["responses"][status]


def _tell_of_limits(page: Json) -> None:
    """Tell of the rate limits in each call that they hold for; app.api.rate_limits says for which they do."""
    page["components"]["headers"] = LIMITS
    for operation in [each for path in page["paths"].keys() - UNLIMITED for each in page["paths"][path].values()]:
        content = {MEDIA_TYPE: {"schema": {"$ref": COMPONENTS + "Problem"}, "examples": {}}}
        refused = operation["responses"].setdefault("429", {"content": content})
        examples = refused["content"][MEDIA_TYPE]["examples"]
        examples |= error_responses(RateLimited)[RateLimited.status]["content"][MEDIA_TYPE]["examples"]
        refused["description"] = "; ".join(example["summary"] for example in examples.values())
        refused["headers"] = _header("Retry-After")
        for answer in operation["responses"].values():
            answer["headers"] = {**answer.get("headers", {}), **_header(*HEADERS)}


def _header(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _without_null(schema: Json) -> Json:
    """Return a parameter's schema as a URL can spell it: left out, or a value, but never null."""
    others = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(others) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **others[0]}


def named(schema: Json, schemas: Json) -> Json:
    """Return a reference to the inline model, which gets its place among the components; so do those inside it."""
    if "title" not in schema or schema.get("type") != "object":
        return schema
    model = {key: value for key, value in schema.items() if key != "$defs"}
    for name, definition in {**schema.get("$defs", {}), model["title"]: model}.items():
        if schemas.setdefault(name, definition := _optional(definition)) != definition:
            raise ValueError(f"{name} has two shapes in the document: a request's model and an answer's need two names")
    return {"$ref": COMPONENTS + model["title"]}


def _optional(model: Json) -> Json:
    """Return a request's model with its defaults told in words: generators make a required field of a default."""
    if "properties" not in model:
        return model
    return {**model, "properties": {name: _in_words(each) for name, each in model["properties"].items()}}


def _in_words(schema: Json) -> Json:
    if "default" not in schema:
        return schema
    told = {key: value for key, value in schema.items() if key != "default"}
    if schema["default"] is not None:
        words = f"default: {orjson.dumps(schema['default']).decode()}"
        told["description"] = "; ".join(filter(None, [schema.get("description"), words]))
    return told
