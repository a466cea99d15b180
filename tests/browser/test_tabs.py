"""The page and its tabs, walked through as a person does."""

import re
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Browser, Error
from waiting import until

from browser.stage import NAME, USER, Stage
from browser.watched import SECONDS, SPINNER, Watched, visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

# hermes-agent 0.19.0 with the plugins that it ships
TABS = ["chat", "sessions", "files", "models", "logs", "cron", "skills", "plugins", "mcp", "channels", "webhooks"]
TABS += ["pairing", "profiles", "config", "env", "system", "docs", "kanban", "achievements"]
UNFINISHED = ("Loading", "copy last response")
"""How a tab begins that is not there yet; the second is the chat's, while its terminal has drawn nothing."""


def but_account(told: set[str]) -> set[str]:
    """Without the question whose answer is No on loopback too; how it is said is the next test's subject."""
    return {words for words in told if "/api/auth/me" not in words}


async def head(watched: Watched, tab: str) -> str:
    """The first line of this tab, every number as #; empty while the page is elsewhere, or loads."""
    shown = await watched.shown()
    is_there = watched.page.url.endswith(f"/{tab}") and not shown.startswith(UNFINISHED)
    return re.sub(r"\d+", "#", shown.partition("\n")[0]).strip() if is_there else ""


async def test_every_tab_loads_through_the_proxy_as_it_does_on_loopback(stage: Stage, browser: Browser) -> None:
    """Side by side: a page shows this and that while it loads, and each tab is left when both show the same."""
    async with visit(browser, stage.directly) as directly, visit(browser, stage.proxied) as proxied:
        both = (directly, proxied)
        for watched in both:
            await watched.settled()
            links = await watched.page.locator("nav a[href^='/']").all()
            assert [(await link.get_attribute("href") or "").removeprefix("/") for link in links] == TABS
        for tab in TABS:
            for watched in both:
                await watched.page.locator(f"nav a[href='/{tab}']").click()
            await shows_the_same(*both, tab)

    assert but_account(proxied.answers) == but_account(directly.answers)
    assert but_account(proxied.complaints) - directly.complaints == set()


async def shows_the_same(one: Watched, other: Watched, tab: str) -> None:
    """Wait until both have something at the head of this tab, and the same."""
    heads = ["", ""]

    async def are_alike() -> bool:
        heads[:] = [await head(watched, tab) for watched in (one, other)]
        return heads[0] == heads[1] != ""

    try:
        await until(are_alike, seconds=SECONDS)
    except TimeoutError as error:
        error.add_note(f"{tab} shows {heads[0]!r} and {heads[1]!r}")
        raise


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("⠸ Loading", True),
        ("ready │ ⠋", True),
        ("│  ⠀⠀⠀⠀⠀⠀⠀⢠⣴⠦⠈⠙⠿⣦⡄⠀⠀⠀⠀      delegation: delegate_task", False),
        ("│  ⠀⠸⣿⣤⡈⠁⢤⣿⠇⠀⠀⠀      file: patch, read_file", False),
    ],
)
async def test_a_spinner_is_told_from_the_drawing_that_a_terminal_greets_with(text: str, *, turns: bool) -> None:
    assert bool(SPINNER.search(text)) == turns


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
