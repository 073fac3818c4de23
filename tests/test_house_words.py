"""Names and phrases that strangers stumbled over stay out: of the code's names, and of everything people read."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Names that had to be explained. Everyday words with a plain meaning elsewhere (fold, wake) are not listed.
FORMER_NAMES = frozenset(
    [
        "knocks",
        "Knock",
        "Knocking",
        "Ask",
        "Terms",
        "Ticket",
        "Admission",
        "HeldUp",
        "Alone",
        "Seat",
        "Wishes",
        "unfulfilled",
        "admit",
        "_judge",
        "Gather",
        "gather",
        "settle",
        "settle_rows",
        "_settle",
        "News",
        "Line",
        "shown",
        "ShownStatus",
        "shown_status",
        "observe",
        "Occupancy",
        "Seen",
        "Believed",
        "Wish",
        "RoomGone",
        "AgentThere",
        "TimeTold",
        "causes",
        "Moment",
        "Visit",
        "Waits",
        "attend",
        "deeds",
        "loops",
        "put_off",
        "forget",
        "sweep",
        "bare",
        "KEPT",
        "Plan",
        "_planned",
        "told",
        "tenants",
        "upkeep",
        "outgoing",
        "judge",
        "targets",
        "Verdict",
        "Logged",
        "listener",
        "Listener",
        "reading",
        "Reading",
        "hear",
        "edge",
        "plain",
        "webhook_shapes",
        "plans",
        "sorry",
        "tagged",
        "Together",
        "described",
        "as_one",
        "is_of_one",
        "is_passing",
        "finding",
        "examining",
        "auditing",
        "working",
        "doors",
        "stage",
        "Stage",
        "oracle",
        "Hooks",
        "seats",
        "InterviewChanges",
    ]
)
PHRASES = re.compile(
    r"\b(?:(?:is|are|was|were|be|been) told|[Tt]ells? whether|anew|(?:is|are) none|(?:is|was|are|were|be) put out"
    r"|put off|is another than|of somebody else|nobody would|what is no|what became of|whoever knocks|let be)\b"
)


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.check_output(["git", "ls-files", *patterns], cwd=ROOT, text=True)  # noqa: S603, S607 - fixed
    return [path for name in listed.splitlines() if (path := ROOT / name).exists()]


def defined_names(path: Path) -> Iterator[str]:
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_no_former_name_is_defined() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked("app/*.py", "simulator/*.py", "tests/*.py", "benchmarks/*.py")
        for name in defined_names(path)
        if name in FORMER_NAMES
    }
    assert not found


def test_texts_are_plain() -> None:
    # Recorded output and migrations keep their words.
    kept = {"docs/a-run.md", "tests/test_house_words.py"}
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked(
            "*.py", "*.md", "*.html", "*.js", "*.ts", "*.toml", "*.yml", "*.yaml", "Makefile", "Dockerfile"
        )
        if str(path.relative_to(ROOT)) not in kept and "migrations" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if PHRASES.search(line)
    ]
    assert not found, f"{len(found)} lines"
