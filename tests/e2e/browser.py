"""The candidate's browser: livekit-client in Chromium, on a page that runs the seed's startInterview."""

import contextlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict

from playwright.async_api import Browser, Page, async_playwright

from tests.clients.typescript import CLIENT
from tests.e2e.toolchain import Missing

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


class _Pages(SimpleHTTPRequestHandler):
    """The page's folder, and clients/typescript under /client/."""

    def translate_path(self, path: str) -> str:
        below = path.removeprefix("/client/")
        self.directory = str(WEB if below == path else CLIENT)
        return super().translate_path(f"/{below}")

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serve_pages() -> Iterator[str]:
    """Serve the page in a thread; yield its origin, http://127.0.0.1:<free port>."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
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
