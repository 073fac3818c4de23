"""clients/typescript in a real browser: its README's example, word for word."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.blocks import of_language
from tests.clients import typescript
from tests.e2e.agent import Agent
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.platform import SEED_METADATA, Platform
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

PATIENT = 60_000  # milliseconds


@pytest.fixture(scope="module")
def example(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example, compiled."""
    (block,) = [each for each in of_language("ts") if "export async function startInterview" in each.text]
    folder = tmp_path_factory.mktemp("example")
    (folder / "example.ts").write_text(block.text)
    tsc = typescript.PACKAGES / "typescript" / "bin" / "tsc"
    options = ("--noCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")
    typescript.run("node", tsc, *options, "--outDir", folder, folder / "example.ts")
    return (folder / "example.js").read_text()


async def opened(browser: Browser, origin: str, example: str, *, service: str, interview_id: str) -> Page:
    """Open a page with the example behind its button."""
    tab = await (await browser.new_context()).new_page()

    async def compiled(route: Route) -> None:
        await route.fulfill(body=example, content_type="text/javascript")

    await tab.route(f"{origin}/example.js", compiled)
    await tab.goto(f"{origin}/readme-example.html?service={service}&id={interview_id}")
    return tab


async def test_the_readmes_example(
    stack: Stack, platform: Platform, browser: Browser, origin: str, join: Join, example: str
) -> None:
    made = await platform.schedule()
    agent = await join(Agent(stack.livekit, made["roomName"]))
    await agent.speak()
    tab = await opened(browser, origin, example, service=stack.service.url, interview_id=made["interviewId"])

    await tab.get_by_role("button").click()

    shown = tab.locator("output")
    await expect(shown).to_have_text(f"You are in: {made['jobTitle']}, {made['companyName']}", timeout=PATIENT)
    assert (await tab.evaluate("window.calls"))[:2] == ["getUserMedia", "fetch"]  # Safari refuses the other order
    identity = f"candidate-{made['candidateId']}"
    arrival = await eventually(lambda: agent.arrival(identity))
    assert json.loads(arrival.metadata) == {**SEED_METADATA, "interviewId": made["interviewId"]}
    await eventually(lambda: agent.hears(identity))
    await expect(tab.locator("audio")).to_have_count(1, timeout=PATIENT)


async def test_the_example_says_why_it_could_not_join(
    stack: Stack, platform: Platform, browser: Browser, origin: str, example: str
) -> None:
    made = await platform.schedule()
    await platform.cancel(made["interviewId"])
    tab = await opened(browser, origin, example, service=stack.service.url, interview_id=made["interviewId"])
    await tab.get_by_role("button").click()
    await expect(tab.locator("output")).to_have_text("The interview is over.", timeout=PATIENT)
