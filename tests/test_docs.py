"""The documentation is correct: code and links work, and it covers all settings, metrics and commands.

test_readme.py runs the blocks that need `make run`, a LiveKit server or TypeScript's compiler.
"""

import ast
import inspect
import json
import re
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from standardwebhooks import Webhook

from app.cli.commands import MODULES
from app.core import errors, metrics
from app.core.settings import Settings
from app.interviews.demo import DEMO_ID
from app.main import create_app
from app.models import ChangeType
from tests.blocks import BLOCKS, NOT_CODE, NOT_RUN, PAGES, ROOT, UNTIL_STOPPED, Block, of_language
from tests.conftest import API_KEY, make_settings
from tests.e2e import livekit_server
from tests.serving import serving

DOCS = ROOT / "docs"
CHECKED = {"bash", "sh", "python", "ts", "json", "env"}
ROW = re.compile(r"^\| (.*?) \|$", re.MULTILINE)


def test_each_block_is_run_or_has_a_reason() -> None:
    by_language = {block.language for block in BLOCKS}
    assert by_language == CHECKED | NOT_CODE.keys()
    not_run = [block for block in BLOCKS if block.language == "sh" and block.first_line not in UNTIL_STOPPED]
    assert [str(block) for block in not_run if block.first_line not in NOT_RUN] == []


def test_no_reason_outlives_its_block() -> None:
    there = {block.first_line for block in BLOCKS}
    assert [line for line in (*NOT_RUN, *UNTIL_STOPPED) if line not in there] == []


@pytest.mark.parametrize("block", of_language("bash") + of_language("sh"), ids=str)
def test_the_shell_can_be_parsed(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)  # noqa: S607 - any bash will do


def test_the_readme_builds_the_livekit_server_of_the_tests() -> None:
    (block,) = [block for block in of_language("sh", "README.md") if block.text.startswith("go build")]
    assert livekit_server.PACKAGE in block.text
    assert f" {livekit_server.MODULE.relative_to(ROOT)} " in block.text


class TestPython:
    """Run the blocks one after the other, with names for the values that readers have."""

    async def test_the_blocks_that_call_the_service(self, own_database: str, tmp_path: Path) -> None:
        answers: list[httpx.Response] = []

        async def note(answer: httpx.Response) -> None:
            await answer.aread()
            answers.append(answer)

        with serving(tmp_path, database_url=own_database) as service:
            async with httpx.AsyncClient(timeout=60, event_hooks={"response": [note]}) as http:
                names: dict[str, Any] = {
                    "service": service,
                    "key": API_KEY,
                    "http": http,
                    "httpx": httpx,
                    "uuid": uuid,
                    "interview": {"interviewId": str(DEMO_ID)},
                    "ctx": SimpleNamespace(
                        room=SimpleNamespace(
                            name=f"interview-{DEMO_ID}", local_participant=SimpleNamespace(identity="agent-AJ_1")
                        )
                    ),
                }
                for block in of_language("python"):
                    if "{service}" in block.text:
                        await run(block, names)
        assert names["context"] is None
        context, report, transcript, checkpoint = answers
        assert context.status_code == 200
        assert (transcript.status_code, transcript.json()) == (200, {"stored": 2, "position": 2})
        assert checkpoint.status_code == 204
        assert (report.status_code, report.json()["code"]) == (409, "not_started")  # the rest is correct
        assert names["answer"].status_code == 201
        assert len(names["answer"].json()["data"]) == 1

    async def test_the_metadata(self, client: httpx.AsyncClient) -> None:
        """LiveKit passes a token's metadata to the agent; here without a room."""
        made = await client.post(
            "/interviews",
            headers={"Authorization": f"Bearer {API_KEY}"},
            json={
                "candidateId": "cand-1",
                "applicationId": "app-1",
                "jobPostId": "job-1",
                "jobTitle": "Backend Developer",
                "phoneNumber": "+966 50 987 6543",
            },
        )
        joined = await client.post(f"/interviews/{made.json()['interviewId']}/join")
        claims = jwt.decode(joined.json()["participantToken"], options={"verify_signature": False})

        async def connect() -> None: ...

        async def wait_for_participant() -> SimpleNamespace:
            return SimpleNamespace(metadata=claims["metadata"])

        ctx = SimpleNamespace(connect=connect, wait_for_participant=wait_for_participant)
        names: dict[str, Any] = {"json": json, "ctx": ctx}
        (block,) = [each for each in of_language("python") if "participant.metadata" in each.text]
        await run(block, names)
        (shown,) = of_language("json", "docs/agent.md")
        assert list(names["interview"]) == list(json.loads(shown.text))

    async def test_verifying_a_webhook(self) -> None:
        secret = "whsec_" + "A" * 44
        (shown,) = of_language("json", "docs/platform.md")
        signed = Webhook(secret)
        sent_at = datetime.now(UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": signed.sign("msg_1", sent_at, shown.text),
        }
        names: dict[str, Any] = {"secret": secret, "request": SimpleNamespace(body=shown.text, headers=headers)}
        (block,) = [each for each in of_language("python") if "standardwebhooks" in each.text]
        await run(block, names)
        assert names["message"] == json.loads(shown.text)

    def test_the_others_can_be_compiled(self) -> None:
        assert all(code_of(block) for block in of_language("python"))


def code_of(block: Block) -> CodeType:
    code: CodeType = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


async def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block that may await at its top level; its assignments end up in `names`."""
    found = eval(code_of(block), names)  # noqa: S307 - our own documentation
    if inspect.isawaitable(found):
        await found


@pytest.mark.parametrize("block", of_language("json"), ids=str)
def test_json_can_be_read(block: Block) -> None:
    assert json.loads(block.text)


def test_the_webhook_shown_is_as_the_api_has_it(document: dict[str, Any]) -> None:
    (shown,) = of_language("json", "docs/platform.md")
    sent = document["webhooks"]["interview.status_changed"]["post"]["requestBody"]["content"]["application/json"]
    assert json.loads(shown.text)["data"] == sent["example"]["data"]
    assert json.loads(shown.text).keys() == sent["example"].keys()


class TestSettings:
    @pytest.mark.parametrize("block", of_language("env"), ids=str)
    def test_they_are_taken(self, block: Block, no_settings: None, tmp_path: Path) -> None:
        read_settings(block.text, tmp_path)

    def test_production_needs_no_more_than_the_required_ones(self, no_settings: None, tmp_path: Path) -> None:
        (block,) = of_language("env", "docs/configuration.md")
        required, _, optional = block.text.partition("# If ")
        assert optional
        settings = read_settings(required, tmp_path)
        assert not settings.is_local

    def test_the_page_has_each_with_its_default(self) -> None:
        page = (DOCS / "configuration.md").read_text()
        rows = [row.split(" | ") for row in ROW.findall(page[page.index("| setting | default |") :])]
        shown: dict[str, str] = {}
        for names, default, *_ in rows[1:]:
            together = names.split(", ")
            shown |= dict(zip(together, default.strip().split(", "), strict=len(together) > 1))
        assert shown.keys() == {name.upper() for name in Settings.model_fields}
        for name, field in Settings.model_fields.items():
            default = field.get_default(call_default_factory=True)
            value = default.get_secret_value() if isinstance(default, SecretStr) else default
            if value not in (None, "", (), {}):  # derived defaults are described in words
                assert shown[name.upper()].removesuffix(" (local only)") == str(value).removesuffix("()").lower(), name


def read_settings(text: str, folder: Path) -> Settings:
    """Return the settings from this `.env`, each line of which must be a setting."""
    names = re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)
    assert {name.lower() for name in names} <= Settings.model_fields.keys()
    file = folder / ".env"
    file.write_text(text)
    return Settings(_env_file=file)


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty the environment; blocks set their own variables."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(make_settings(), None).openapi()  # type: ignore[arg-type] # it makes no database call


def test_each_metric_is_described() -> None:
    page = (DOCS / "operations.md").read_text()
    found = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    counted = {f"{each._name}{{{','.join(each._labelnames)}}}".removesuffix("{}") for each in found}  # noqa: SLF001
    described = page[page.index("| metric | counts |") : page.index("## The command")]
    assert set(re.findall(r"^\| `([^`]+)`", described, re.MULTILINE)) == counted


def test_each_command_is_described() -> None:
    page = (DOCS / "operations.md").read_text()
    table = page[page.index("| command | what it does |") : page.index("Tables are for people")]
    described = set(re.findall(r"`interviews ([a-z]+)", table))
    assert described == set(MODULES)


def test_each_event_type_is_described() -> None:
    page = (DOCS / "platform.md").read_text()
    described = page[page.index("The types are `interview.scheduled`") :]
    assert [type_ for type_ in ChangeType if f"`{type_}`" not in described] == []


def test_the_frontends_page_has_each_error_of_a_join(document: dict[str, Any]) -> None:
    answers = document["paths"]["/interviews/{interview_id}/join"]["post"]["responses"]
    problems = [answer.get("content", {}).get("application/problem+json", {}) for answer in answers.values()]
    codes = {code for problem in problems for code in problem.get("examples", {})}
    page = (DOCS / "frontend.md").read_text()
    table = page[page.index("| status and `code` |") : page.index("## Who may join")]
    described = set(re.findall(r"`([a-z]+_[a-z_]+)`", table))
    assert codes - described == {"payload_invalid", "body_too_large"}  # errors of a page itself
    assert described <= codes


def test_each_code_is_one_of_ours() -> None:
    """Where a page names a status with a code, both are correct."""
    ours = {(kind.code, kind.status) for kind in vars(errors).values() if hasattr(kind, "code")}
    named = [
        (code, int(status))
        for page in PAGES
        for status, code in re.findall(r"\b([45]\d\d) `([a-z_]+)`", page.read_text())
    ]
    assert named
    assert [each for each in named if each not in ours] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_each_file_that_is_named_exists() -> None:
    named = {
        path
        for page in (*PAGES, ROOT / "tests" / "blocks.py")
        for path in re.findall(r"\b(?:app|tests|benchmarks|simulator|deploy)/[\w./-]+\.(?:py|yaml)\b", page.read_text())
    }
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def anchors_of(page: Path) -> set[str]:
    """Return GitHub's anchors of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_has_each_page() -> None:
    listed = (DOCS / "README.md").read_text()
    pages = [page.relative_to(DOCS) for page in DOCS.glob("*.md") if page.name != "README.md"]
    assert [str(page) for page in pages if f"]({page})" not in listed] == []


def test_make_has_each_target_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", page.read_text())}
    for target in {one or other for one, other in named}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
