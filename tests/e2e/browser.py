"""The candidate's browser: livekit-client in Chromium, on a page that runs the seed's startInterview."""

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

# A microphone that beeps, permission to use it without a prompt, and no background network requests.
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
    """Return the browser of CHROMIUM, or one on PATH. Raises Missing."""
    if named := os.environ.get("CHROMIUM"):
        if not os.access(named, os.X_OK):
            raise Missing(f"CHROMIUM names {named}, which is no program")
        return Path(named)
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    raise Missing("no Chromium: install it (Debian: apt-get install chromium) or name it in CHROMIUM")


def install_packages() -> None:
    """Run `npm ci` unless node_modules is up to date with the lock. Raises Missing without node or npm."""
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    made_from = WEB / "node_modules" / ".made-from"  # written last, so an interrupted npm leaves none
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
        """Log nothing."""


@contextlib.contextmanager
def serve_pages() -> Iterator[str]:
    """Serve the page's folder in a thread; yield its origin, http://127.0.0.1:<free port>."""
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
    """The window.state of start-interview.js."""

    statuses: list[str]  # every interviewStatus so far, "ready" first
    error: str | None
    isCallActive: bool
    disconnectReason: str | None
    consoleErrors: list[str]


@dataclass(frozen=True)
class JoinAnswer:
    """The response to the page's POST .../join."""

    status: int
    body: dict[str, Any]


class InterviewPage:
    """A tab with the interview's page; `tab` is playwright's Page."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab

    @classmethod
    async def open(cls, browser: Browser, origin: str) -> "InterviewPage":
        """Open a tab in its own context, which shares nothing with other pages."""
        tab = await (await browser.new_context()).new_page()
        await tab.goto(f"{origin}/index.html")
        return cls(tab)

    async def join(self, service_url: str, interview_id: str, phone_number: str = "") -> JoinAnswer:
        """Request a join and, if the response is 200, run the seed's startInterview to its end."""
        answer = await self.tab.evaluate(
            "args => window.join(args[0], args[1], args[2])", [service_url, interview_id, phone_number]
        )
        return JoinAnswer(answer["status"], answer["body"])

    async def start(self, join_response: Mapping[str, object], phone_number: str = "") -> None:
        """Run the seed's startInterview to its end with this joinResponse."""
        await self.tab.evaluate("args => window.start(args[0], args[1])", [dict(join_response), phone_number])

    async def join_by_token_source(self, service_url: str, interview_id: str, **options: str) -> None:
        """Join through POST .../token with livekit-client's TokenSource.endpoint; the state has the error."""
        await self.tab.evaluate(
            "args => window.joinByTokenSource(args[0], args[1], args[2])", [service_url, interview_id, options]
        )

    async def state(self) -> PageState:
        state: PageState = await self.tab.evaluate("window.state")
        return state

    async def leave(self) -> None:
        """Disconnect; the page stays open until `tab.close()`."""
        await self.tab.evaluate("window.leave()")
