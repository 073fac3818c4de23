"""The code blocks of the READMEs and of docs/, and the reasons why some are not run."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "clients" / "typescript" / "README.md",
)


class Block(NamedTuple):
    """A fenced block. `page` is its path in the repository, `language` its info string."""

    page: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]

    def __str__(self) -> str:
        return f"{self.page}: {self.first_line}"


def _blocks() -> list[Block]:
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(str(page.relative_to(ROOT)), language, text)
        for page in PAGES
        for language, text in fenced.findall(page.read_text())
    ]


BLOCKS = _blocks()

# Languages that are not code.
NOT_CODE = {
    "mermaid": "a picture, which GitHub draws",
    "text": "recorded output",
}

# By first line: blocks that no test runs unchanged, with the reason. Shell is still parsed, Python compiled.
NOT_RUN = {
    "make run     # the service on http://127.0.0.1:8000, with a demo interview": (
        "every slow test of test_readme.py starts make run; make test would start itself"
    ),
    'go build -C tests/e2e/livekit-server -o "$PWD/.data/livekit-server" '
    "github.com/livekit/livekit-server/cmd/server": (
        "takes minutes: tests/e2e/livekit_server.py builds the same, and test_docs.py compares the two"
    ),
    "deploy/make-env        # writes deploy/compose.env with new secrets": (
        "there is no Docker engine: tests/test_deploy.py runs make-env and checks the files"
    ),
    "# agent.py": "LiveKit Agents is a download of 500 MB, and needs another version of LiveKit's SDK than our lock",
    "python3 -m venv .venv && .venv/bin/pip install livekit-agents   # some 500 MB": "starts agent.py, see there",
    "npx openapi-typescript http://127.0.0.1:8000/openapi.json -o schema.d.ts    "
    "# then createClient<paths>() of openapi-fetch": "tests/api/openapi/test_generated_clients.py runs both generators",
    "npm ci               # in this folder": "tests/clients/ runs all but `npm run format`",
    "make bench                                   # all, some 25 minutes; writes docs/benchmarks.md and "
    "docs/benchmarks.svg": "takes 25 minutes",
}

# By first line: shell blocks that run until stopped, which test_readme.py handles separately.
UNTIL_STOPPED = {
    "livekit-server --config .data/livekit.yaml",
    "id=c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
}


def of_language(language: str, page: str | None = None) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and page in (None, block.page)]
