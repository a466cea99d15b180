"""The page and its tabs, walked through as a person does."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Error

from browser.stage import NAME, USER, Stage, Way
from browser.watched import Watched, visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

# hermes-agent 0.19.0 with the plugins that it ships
TABS = ["chat", "sessions", "files", "models", "logs", "cron", "skills", "plugins", "mcp", "channels", "webhooks"]
TABS += ["pairing", "profiles", "config", "env", "system", "docs", "kanban", "achievements"]


def but_account(told: set[str]) -> set[str]:
    """Without the question whose answer is No on loopback too; how it is said is the next test's subject."""
    return {words for words in told if "/api/auth/me" not in words}


@dataclass(frozen=True)
class Walk:
    """What was seen on a walk: the head of every tab, all answers, everything that went wrong."""

    heads: dict[str, str]
    answers: set[str]
    complaints: set[str]


async def walked(browser: Browser, way: Way) -> Walk:
    """Every tab, one after the other, each until it has what it asked for."""
    async with visit(browser, way) as watched:
        shown = await watched.settled()
        heads = {}
        for tab in await watched.page.locator("nav a[href^='/']").all():
            await tab.click()
            shown = await watched.settled(unlike=shown)
            while shown.startswith("Loading"):  # it stands still on a slow machine too
                shown = await watched.settled(unlike=shown)
            name = (await tab.get_attribute("href") or "").removeprefix("/")
            heads[name] = re.sub(r"\d+", "#", shown.partition("\n")[0])
    return Walk(heads, watched.answers, watched.complaints)


async def test_every_tab_loads_through_the_proxy_as_it_does_on_loopback(stage: Stage, browser: Browser) -> None:
    directly = await walked(browser, stage.directly)
    proxied = await walked(browser, stage.proxied)

    assert list(directly.heads) == TABS
    assert proxied.heads == directly.heads
    assert but_account(proxied.answers) == but_account(directly.answers)
    assert but_account(proxied.complaints) - directly.complaints == set()


async def test_a_person_is_asked_for_the_password_once(browser: Browser, stage: Stage) -> None:
    way, asked = stage.proxied, list[str]()
    context = await browser.new_context()
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    pair = {"response": "ProvideCredentials", "username": USER, "password": way.password}

    async def enter(event: dict[str, Any]) -> None:
        asked.append(event["request"]["url"].removeprefix(way.origin))
        await session.send("Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": pair})

    async def go_on(event: dict[str, Any]) -> None:
        with suppress(Error):  # the page left before it was answered
            await session.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    session.on("Fetch.authRequired", enter)
    session.on("Fetch.requestPaused", go_on)
    await session.send("Fetch.enable", {"handleAuthRequests": True, "patterns": [{"urlPattern": "*"}]})
    try:
        watched = Watched(page, way)
        for _ in range(2):
            await page.goto(way.origin)
            await watched.settled()
    finally:
        await context.close()

    assert asked == ["/"]


async def test_the_dashboard_itself_takes_no_name_but_loopbacks(stage: Stage) -> None:
    async with stage.directly.client(Host=NAME) as client:
        answer = await client.get("/")

    assert (answer.status_code, answer.json()["detail"].partition(".")[0]) == (400, "Invalid Host header")
