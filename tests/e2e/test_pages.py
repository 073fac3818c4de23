"""Swagger in a real browser that can reach the service only."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Route, expect

from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

HOPELESS = 60_000  # milliseconds


async def test_swagger_works_offline_under_its_policy(stack: Stack, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1200, "height": 1400})
    reached: list[str] = []

    async def only_the_service(route: Route) -> None:
        reached.append(route.request.url)
        ours = urlsplit(route.request.url).netloc == urlsplit(stack.service.url).netloc
        await (route.continue_() if ours else route.abort())

    await context.route("**/*", only_the_service)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    await page.goto(f"{stack.service.url}/docs")
    await expect(page.locator("#operations-recruiter-scheduleInterview")).to_be_visible(timeout=HOPELESS)
    await page.locator("#operations-operator-isLive").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_role("button", name="Execute").click()
    status = page.locator(".live-responses-table tr.response .response-col_status")
    await expect(status).to_contain_text("200", timeout=HOPELESS)

    assert complaints == []
    assert {urlsplit(url).netloc for url in reached} == {urlsplit(stack.service.url).netloc}
