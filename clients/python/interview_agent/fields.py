"""Reading JSON objects field by field, with all problems in one error."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T", bound="str | int")

NAMES: dict[type, str] = {str: "a string", int: "a whole number"}


class FieldReader:
    """Reads fields of a JSON object. `problems` collects a sentence for each that is missing or mistyped."""

    def __init__(self, fields: Mapping[str, Any], where: str = "") -> None:
        self.fields = fields
        self.where = where
        self.problems: list[str] = []

    def required(self, name: str, kind: type[T]) -> T:
        """Return the field. For one that is missing or mistyped note the problem, and return an empty value."""
        if name not in self.fields:
            self.problems.append(f"{self.where}{name} is missing")
            return kind()
        return self._checked(name, kind)

    def optional(self, name: str, kind: type[T], default: T) -> T:
        """Return the field, or the default if it is missing or null."""
        return default if self.fields.get(name) is None else self._checked(name, kind)

    def _checked(self, name: str, kind: type[T]) -> T:
        value = self.fields[name]
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self.problems.append(f"{self.where}{name} is {shown(value)} instead of {NAMES[kind]}")
        return kind()


def shown(value: Any) -> str:
    """Return what kind of JSON value it is. Never the value itself, which may be personal data."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"
