"""Service, LiveKit server and page, once per test worker; clients for each test."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from livekit import api
from playwright.async_api import Browser

from tests.clients import typescript
from tests.e2e import browser as browsers
from tests.e2e.clients import C, Join
from tests.e2e.interview import Interview, Schedule
from tests.e2e.livekit_server import find_or_build
from tests.e2e.outages import OwnStack, audit
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack, start_stack
from tests.e2e.toolchain import Missing, missing


@pytest.fixture(scope="session")
def livekit_binary() -> Path:
    try:
        return find_or_build()
    except Missing as reason:
        missing(reason)


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """Where the page is served: http://127.0.0.1:<port>."""
    with browsers.serve_pages() as served:
        yield served


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, livekit_binary: Path, origin: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A shared stack. A test that stops the service or LiveKit starts its own with start_stack."""
    # requested late, so no database is created when something is missing
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    folder = tmp_path_factory.mktemp("stack")
    try:
        started = start_stack(livekit_binary, folder, database_url=new_database(), origin=origin)
        with started as running:
            yield running
    except Missing as reason:
        missing(reason)


@pytest.fixture(scope="module")
def own_stack(
    request: pytest.FixtureRequest, livekit_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> OwnStack:
    """Start a stack with its own settings; `interviews audit` must find no difference at the end."""

    @contextmanager
    def start(*, replicas: int = 0, **settings: str | int) -> Iterator[Stack]:
        new_database: Callable[[], str] = request.getfixturevalue("new_database")
        folder = tmp_path_factory.mktemp("own-stack")
        env = {name: str(value) for name, value in settings.items()}
        try:
            started = start_stack(
                livekit_binary, folder, database_url=new_database(), origin="", env=env, replicas=replicas
            )
            with started as running:
                yield running
                found = audit(running.service)
                assert found.code == 0, found.output
        except Missing as reason:
            missing(reason)

    return start


@pytest.fixture
async def platform(stack: Stack) -> AsyncIterator[Platform]:
    platform = Platform(stack.service)
    yield platform
    await platform.aclose()


@pytest.fixture
def schedule(stack: Stack, platform: Platform, join: Join, tmp_path: Path) -> Schedule:
    """Schedule interviews, whose clients leave at the end of the test."""

    async def scheduled(**texts: object) -> Interview:
        made = await platform.schedule(**texts)
        return Interview(made["interviewId"], stack, platform, join, tmp_path)

    return scheduled


@pytest.fixture
async def livekit_api(stack: Stack) -> AsyncIterator[api.LiveKitAPI]:
    """LiveKit's API, to inspect it and to change rooms from outside the service."""
    async with api.LiveKitAPI(stack.livekit.http_url, stack.livekit.api_key, stack.livekit.api_secret) as client:
        yield client


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Join an agent or a candidate, which leaves at the end of the test."""
    async with AsyncExitStack() as leaving:

        async def joined(client: C) -> C:
            leaving.push_async_callback(client.leave)
            await client.join()
            return client

        yield joined


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program, once the page has what it imports."""
    try:
        found = browsers.find_chromium()
        typescript.build()
    except Missing as reason:
        missing(reason)
    return found


@pytest.fixture
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    async with browsers.launch(chromium) as launched:
        yield launched


@pytest.fixture
async def page(browser: Browser, origin: str) -> browsers.InterviewPage:
    return await browsers.InterviewPage.open(browser, origin)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the tails of the logs with a failed test."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.extend(stack.logs())
    return report
