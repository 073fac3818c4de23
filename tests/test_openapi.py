"""The OpenAPI page is the frontend developer's and the platform's manual: it tells every error, truly."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from app import errors
from app.api.problems import MEDIA_TYPE, Problem
from app.errors import AppError

LIVEKITS_OWN = {"TokenRequest", "TokenResponse"}  # the format of its standard token endpoint
WITHOUT_DATABASE = {"isLive", "getMetrics"}


def subclasses(of: type[AppError]) -> Iterator[type[AppError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


CODES = {each.code: each for each in subclasses(AppError) if each is not errors.Refused}


@pytest.fixture
def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Every operation by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def examples(operation: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each documented error: its status, its name, its example."""
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


def test_error_examples_are_problems_with_known_codes(operations: dict[str, dict[str, Any]]) -> None:
    seen = set()
    for operation in operations.values():
        for status, name, example in examples(operation):
            problem = Problem.model_validate(example)
            error = CODES[name]
            assert (problem.code, problem.status) == (name, status) == (error.code, error.status)
            assert (problem.title, problem.detail) == (error.title, error.detail)
            seen.add(name)
    assert seen == CODES.keys()


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


def test_guarded_calls_tell_of_401_and_403(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        documented = {code for _, code, _ in examples(operation)}
        guarded = bool(operation.get("security"))
        assert ("unauthorized" in documented) == guarded, name
        assert ("missing_scope" in documented) == guarded, name
        assert ("interview_not_found" in documented) == ("{interview_id}" in name), name


def test_every_property_of_the_wire_is_camel_case(app: FastAPI) -> None:
    for name, schema in app.openapi()["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            assert name in LIVEKITS_OWN or "_" not in field, (name, field)


def test_each_code_is_used_once() -> None:
    assert len(CODES) == len([each for each in subclasses(AppError) if each is not errors.Refused])
    for code, error in CODES.items():
        assert code == code.lower()
        assert 400 <= error.status < 600
        assert error.detail.endswith(".")
