"""python -m tests.lifecycle.comparisons: are the boundaries of the rules tested?

It takes every comparison in app/lifecycle in turn and exchanges it (< and <=, > and >=, == and !=, is and is not, in
and not in), and takes out every operand of `and` and `or`. Then the pure tests must fail. Where none does, the change
is a survivor: survivors.py says of each why it makes no difference. A new one fails, and so does an entry that is no
longer true.

The code of the one function is exchanged within this process, so a change costs as little as the tests do.
"""

import ast
import contextlib
import copy
import dataclasses
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from app import lifecycle
from tests import reference_model
from tests.lifecycle.random_truths import (
    ALL_OVER,
    SAME_TIMEOUTS,
    SEEDS,
    TIMEOUTS,
    at,
    is_judged,
    random_truth,
    replayed,
)
from tests.lifecycle.survivors import SURVIVORS

MODULES = [import_module(f"app.lifecycle.{name}") for name in ("derive", "end_rules", "facts", "presence", "status")]
TESTS = ("test_table.py", "test_evidence.py", "test_status.py", "test_boundaries.py")
EXCHANGED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
EXCHANGED |= {other: one for one, other in EXCHANGED.items()}

Check = Callable[[], None]


@dataclass(frozen=True)
class Change:
    """One changed expression: the name does not depend on where in the file it is."""

    name: str
    module: ModuleType
    owner: str  # the function's qualified name
    place: int  # of the expression within the function
    index: int  # of the comparison or operand within the expression

    def code(self) -> CodeType:
        """Return the function's code with the change."""
        tree = _tree(self.module)
        function = next(node for owner, node in _functions(tree) if owner == self.owner)
        _change(list(ast.walk(function))[self.place], self.index)
        return _code(tree, self.module, self.owner)


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(Path(str(module.__file__)).read_text())


def changes(module: ModuleType) -> Iterator[Change]:
    seen: Counter[str] = Counter()
    for owner, node in _functions(_tree(module)):
        for place, original in enumerate(ast.walk(node)):
            for index in range(_ways(original)):
                changed = copy.deepcopy(original)
                _change(changed, index)
                name = f"{module.__name__.rpartition('.')[2]}.{owner}: {ast.unparse(original)} -> {_written(changed)}"
                seen[name] += 1
                name += f" ({seen[name]})" if seen[name] > 1 else ""
                yield Change(name, module, owner, place, index)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{each.name}", each) for each in node.body if isinstance(each, ast.FunctionDef))


def _ways(node: ast.AST) -> int:
    """Return in how many ways the expression can be changed."""
    match node:
        case ast.Compare():
            return len(node.ops)
        case ast.BoolOp():
            return len(node.values)
    return 0


def _change(node: ast.AST, index: int) -> None:
    match node:
        case ast.Compare():
            node.ops[index] = EXCHANGED[type(node.ops[index])]()
        case ast.BoolOp():
            del node.values[index]


def _written(node: ast.AST) -> str:
    return ast.unparse(node.values[0] if isinstance(node, ast.BoolOp) and len(node.values) == 1 else node)


class _Bare(ast.NodeTransformer):
    """`and` and `or` with one operand left are that operand."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return node if len(node.values) > 1 else node.values[0]


def _code(tree: ast.Module, module: ModuleType, owner: str) -> CodeType:
    """Return the code of that function, compiled from the changed module."""
    compiled = compile(ast.fix_missing_locations(_Bare().visit(tree)), str(module.__file__), "exec")
    for name in owner.split("."):
        compiled = next(each for each in compiled.co_consts if isinstance(each, CodeType) and each.co_name == name)
    return compiled


def _function(module: ModuleType, owner: str) -> FunctionType:
    found: Any = module
    for name in owner.split("."):
        found = vars(found)[name]
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), owner
    return found


@contextlib.contextmanager
def made(change: Change) -> Iterator[None]:
    function = _function(change.module, change.owner)
    original = function.__code__
    function.__code__ = change.code()
    try:
        yield
    finally:
        function.__code__ = original


class _Collected:
    """The tests as calls without pytest."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            assert isinstance(item, pytest.Function)
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            self.checks.append(partial(item.obj, **parameters))


def pure_tests() -> list[Check]:
    collected, folder = _Collected(), Path(__file__).parent
    paths = [str(folder / name) for name in TESTS]
    with contextlib.redirect_stdout(io.StringIO()):
        assert pytest.main(["--collect-only", "-q", "-n0", "-p", "no:randomly", *paths], plugins=[collected]) == 0
    return collected.checks


@dataclass(frozen=True)
class KnownState:
    """What is known of a random attempt at an instant, and what the reference model makes of it."""

    known: lifecycle.Facts
    now: datetime
    end: reference_model.ExpectedEnd
    talk_time: timedelta


def random_attempts() -> list[Check]:
    return [partial(_check, attempt) for attempt in map(_known_states, SEEDS)]


def _known_states(seed: int) -> list[KnownState]:
    truth = random_truth(seed)
    return [
        KnownState(
            known,
            now,
            reference_model.expected_end(truth, now, TIMEOUTS),
            reference_model.talk_time(truth, now, TIMEOUTS),
        )
        for now, known, _ in replayed(truth, at(ALL_OVER))
        if is_judged(truth, now)
    ]


def _check(states: Sequence[KnownState]) -> None:
    decision = None
    for state in states:
        known = state.known if decision is None else dataclasses.replace(state.known, decision=decision)
        derived = lifecycle.derive(known, state.now, SAME_TIMEOUTS)
        decision = derived.decision
        found = (derived.status, derived.end_reason, derived.started_at, derived.ended_at)
        assert found == (state.end.status, state.end.end_reason, state.end.started_at, state.end.ended_at)
        talking = state.now - derived.talking_since if derived.talking_since else timedelta()
        assert derived.talk_time + talking == state.talk_time


def fails(checks: Sequence[Check]) -> bool:
    for check in checks:
        try:
            check()
        except Exception:  # noqa: BLE001 - a change may break anything
            return True
    return False


def survivors(checks: Sequence[Check]) -> tuple[int, list[str]]:
    """Return how many changes there are, and the names of those that no check notices."""
    found = [change for module in MODULES for change in changes(module)]
    alive = []
    for change in found:
        with made(change):
            if not fails(checks):
                alive.append(change.name)
    return len(found), alive


def main() -> int:
    checks = [*pure_tests(), *random_attempts()]
    if fails(checks):
        sys.stdout.write("the tests fail without any change\n")
        return 1
    count, alive = survivors(checks)
    new, gone = set(alive) - set(SURVIVORS), set(SURVIVORS) - set(alive)
    sys.stdout.write("".join(f"no test notices: {name}\n" for name in alive if name in new))
    sys.stdout.write("".join(f"explained, but no survivor any more: {name}\n" for name in sorted(gone)))
    sys.stdout.write(f"{count} changes, {len(alive)} survivors, {len(new)} of them not explained\n")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
