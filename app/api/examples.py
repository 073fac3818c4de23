"""Examples for the OpenAPI document: one for each model of a request or response, about the demo interview."""

from typing import Any

from app.interviews.demo import DEMO, DEMO_ID

Json = dict[str, Any]

AT = "2026-11-22T09:00:00Z"

# By JSON names, which mean the same everywhere. A field's own example takes precedence.
SEED: Json = {
    "interviewId": str(DEMO_ID),
    "candidateId": DEMO.candidate_id,
    "applicationId": DEMO.application_id,
    "jobPostId": DEMO.job_post_id,
    "participantName": DEMO.participant_name,
    "phoneNumber": DEMO.phone_number,
    "jobTitle": DEMO.job_title,
    "companyName": DEMO.company_name,
    "instructions": (
        "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. "
        "Please speak clearly and answer all questions to the best of your ability."
    ),
    "maxDuration": DEMO.max_duration,
    "status": "READY_TO_JOIN",
    "roomName": f"interview-{DEMO_ID}",
    "identity": f"candidate-{DEMO.candidate_id}",
    "attempt": 1,
    "sequence": 1,
    "summary": "Strong on databases.",
    "result": {"score": 4},
    "kind": "call",
    "name": "scheduled",
    "text": "The interview was scheduled",
}


def example_of(schema: Json, schemas: Json, *, name: str = "") -> Any:
    """Return an example of the JSON schema. `schemas` resolves references; `name` is the property's name."""
    if reference := schema.get("$ref"):
        return example_of(schemas[reference.rpartition("/")[2]], schemas, name=name)
    if "const" in schema:
        return schema["const"]
    if examples := schema.get("examples"):
        return examples[0]
    if name in SEED and SEED[name] in schema.get("enum", [SEED[name]]):
        return SEED[name]
    if "enum" in schema:
        return schema["enum"][0]
    if several := schema.get("anyOf"):
        return None if {"type": "null"} in several else example_of(several[0], schemas, name=name)
    return _of_type(schema, schemas, name)


def _of_type(schema: Json, schemas: Json, name: str) -> Any:
    match schema.get("type"):
        case "object":
            return _object(schema, schemas)
        case "array":
            return [example_of(schema["items"], schemas, name=name)]
        case "string":
            return AT if schema.get("format") == "date-time" else "..."
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case _:
            return None


def _object(schema: Json, schemas: Json) -> Json:
    """Return the required properties, and the optional ones that have an example."""
    required = schema.get("required", [])
    return {
        key: example_of(value, schemas, name=key)
        for key, value in schema.get("properties", {}).items()
        if key in required or key in SEED or "examples" in value
    }
