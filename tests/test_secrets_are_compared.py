"""A rule that ruff lacks: secrets are compared with hmac.compare_digest, in constant time."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"
SECRET = re.compile(r"secret|token|_key|password|signature|digest|hash|hmac|checksum|invite|\bmac\b", re.IGNORECASE)
# A comparison with a column becomes SQL: the database looks up the hash of a random key.
COLUMN = re.compile(r"^[A-Z]\w+\.\w+$|\.c\.\w+$")
# Public names: timing a comparison with them reveals what the README states.
KNOWN = {"LOCAL_LIVEKIT_KEY", "LOCAL_API_KEY", "BOOTSTRAP_KEY_NAME"}


def comparisons(source: str, file: str) -> Iterator[str]:
    """Yield `file:line: code` of each ==, !=, `in`, startswith or `match` with a name of a secret."""
    for node in ast.walk(ast.parse(source)):
        if not (sides := _compared(node)):
            continue
        code = ast.unparse(node).splitlines()[0]
        if any(map(_is_column, sides)) or not KNOWN.isdisjoint(re.findall(r"\w+", code)):
            continue
        if any(_is_secret(side) for side in sides):
            yield f"{file}:{sides[0].lineno}: {code}"


def _compared(node: ast.AST) -> list[ast.expr]:
    """Return the operands that the code compares; a literal prefix is no secret."""
    match node:
        case ast.Compare(left, operators, others):
            found = any(isinstance(each, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for each in operators)
            return [left, *others] if found else []
        case ast.Match(subject):
            return [subject]
        case ast.Call(ast.Attribute(value, "startswith" | "endswith" | "__eq__"), [other]):
            return [] if isinstance(other, ast.Constant) else [value, other]
    return []


def _is_column(side: ast.expr) -> bool:
    return COLUMN.search(ast.unparse(side)) is not None


def _is_secret(side: ast.expr) -> bool:
    """Return whether the value is secret; its length or an enumeration's value is not."""
    if isinstance(side, ast.Attribute):
        return bool(SECRET.search(side.attr)) and not side.attr.isupper()
    if isinstance(side, ast.Name):
        return bool(SECRET.search(side.id))
    if isinstance(side, ast.Subscript):
        key = side.slice
        named = isinstance(key, ast.Constant) and isinstance(key.value, str) and bool(SECRET.search(key.value))
        return named or _is_secret(side.value)
    if isinstance(side, ast.Call):
        if isinstance(side.func, ast.Attribute) and side.func.attr in (
            "encode",
            "decode",
            "digest",
            "hexdigest",
            "lower",
        ):
            return side.func.attr.endswith("digest") or _is_secret(side.func.value)
        return "get_secret_value" in ast.unparse(side.func) or bool(re.match(r"(hash|sign)_", ast.unparse(side.func)))
    return False


def test_no_secret_is_compared_by_equality() -> None:
    files = sorted(APP.rglob("*.py"))
    assert len(files) > 50
    found = [each for file in files for each in comparisons(file.read_text(), file.name)]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "key_hash == stored",
        "found != interview.invite_hash",
        "settings.api_key.get_secret_value() == given",
        "hashlib.sha256(body).hexdigest() == claims.sha256",
        "signature in signatures",
        "row['token'] == 1 and secrets[0] == 'x'",
        "hash_key(given) == stored",
        "expected == (password.encode())",
        "given_token.startswith(stored)",
        "match secret:\n    case 'a':\n        pass",
    ],
)
def test_the_rule_finds(code: str) -> None:
    assert list(comparisons(code, "test.py"))


@pytest.mark.parametrize(
    "code",
    [
        "hmac.compare_digest(secret, other)",
        "secret is None",
        "len(token) > 5",
        "len(secret) == 5",
        "ApiKey.key_hash == hash_key(key)",
        "key == 'name'",
        "given == LOCAL_API_KEY or api_key == LOCAL_API_KEY",
        "name == 'token'",
        "answer == Answer.TOKEN",
        "token.startswith('inv_')",
        "match name:\n    case 'token':\n        pass",
    ],
)
def test_the_rule_ignores(code: str) -> None:
    assert not list(comparisons(code, "test.py"))
