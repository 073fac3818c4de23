"""The candidate's side as it is: livekit-client in Chromium, on a page that runs the seed's startInterview."""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict

from playwright.async_api import Browser, Page, async_playwright

from tests.e2e.toolchain import Missing, one_at_a_time

WEB = Path(__file__).parent / "web"

# A microphone that beeps, permission to use it without a question, and nothing that asks the network by itself.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def find_chromium() -> Path:
    """The browser named by CHROMIUM, else one on PATH; Missing otherwise."""
    if named := os.environ.get("CHROMIUM"):
        if not os.access(named, os.X_OK):
            raise Missing(f"CHROMIUM names {named}, which is no program")
        return Path(named)
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    raise Missing("no Chromium: install it (Debian: apt-get install chromium) or name it in CHROMIUM")


def install_packages() -> None:
    """`npm ci` for the page, unless node_modules was made from this very lock; Missing without node or npm."""
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    made_from = WEB / "node_modules" / ".made-from"  # written last: an interrupted npm leaves none
    with one_at_a_time(f"npm-ci-{hashlib.sha256(bytes(WEB)).hexdigest()[:12]}"):
        if made_from.exists() and made_from.read_text() == wanted:
            return
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise Missing("no npm and node for the page's livekit-client: install nodejs and npm")
        run = subprocess.run(  # noqa: S603 - npm, on the committed lock
            [npm, "ci", "--ignore-scripts"],
            cwd=WEB,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if run.returncode:
            raise Missing(f"npm ci failed in {WEB}:\n{run.stdout[-2000:]}")
        made_from.write_text(wanted)


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing: a request is no news."""


@contextlib.contextmanager
def serve_pages() -> Iterator[str]:
    """Serves the page's folder from a thread; gives its origin, http://127.0.0.1:<free port>."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Pages, directory=WEB)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.asynccontextmanager
async def launch(chromium: Path) -> AsyncIterator[Browser]:
    """A headless browser with a fresh profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class PageState(TypedDict):
    """What start-interview.js keeps in window.state."""

    statuses: list[str]  # every interviewStatus so far, "ready" first
    error: str | None
    isCallActive: bool
    disconnectReason: str | None
    consoleErrors: list[str]


@dataclass(frozen=True)
class JoinAnswer:
    """What the service answered to the page's POST .../join."""

    status: int
    body: dict[str, Any]


class InterviewPage:
    """One tab with the interview's page; `tab` is playwright's Page, for all that is not here."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab

    @classmethod
    async def open(cls, browser: Browser, origin: str) -> "InterviewPage":
        """A tab in a context of its own: nothing is shared with another page."""
        tab = await (await browser.new_context()).new_page()
        await tab.goto(f"{origin}/index.html")
        return cls(tab)

    async def join(self, service_url: str, interview_id: str, phone_number: str = "") -> JoinAnswer:
        """Asks the service and, if it answers 200, runs the seed's startInterview to its end."""
        answer = await self.tab.evaluate(
            "args => window.join(args[0], args[1], args[2])", [service_url, interview_id, phone_number]
        )
        return JoinAnswer(answer["status"], answer["body"])

    async def start(self, join_response: Mapping[str, object], phone_number: str = "") -> None:
        """Runs the seed's startInterview to its end with a joinResponse at hand."""
        await self.tab.evaluate("args => window.start(args[0], args[1])", [dict(join_response), phone_number])

    async def join_by_token_source(self, service_url: str, interview_id: str, **options: str) -> None:
        """Joins through POST .../token with livekit-client's TokenSource.endpoint; an error is in the state."""
        await self.tab.evaluate(
            "args => window.joinByTokenSource(args[0], args[1], args[2])", [service_url, interview_id, options]
        )

    async def state(self) -> PageState:
        state: PageState = await self.tab.evaluate("window.state")
        return state

    async def leave(self) -> None:
        """Disconnects; the page stays open. To close the tab: `tab.close()`."""
        await self.tab.evaluate("window.leave()")
