"""A page of another origin, in the browser of somebody who is at home at the dashboard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Browser, Page
from waiting import until

from browser.stage import NAME, STRANGER, Stage
from browser.strangers import strangers
from browser.watched import REFUSED, SOCKET, Watched, visit

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("name", [STRANGER, NAME], ids=["another site", "another port of the same site"]),
]

POST = """([url, body]) => fetch(url, {
    method: 'POST', mode: 'no-cors', credentials: 'include', headers: {'Content-Type': 'text/plain'}, body,
}).then(answer => answer.type)"""

FORM = """([url, name, value]) => {
    const form = document.createElement('form')
    Object.assign(form, {method: 'POST', enctype: 'text/plain', action: url})
    const field = document.createElement('input')
    Object.assign(field, {type: 'hidden', name, value})
    form.append(field)
    document.body.append(form)
    form.submit()
}"""

HEAD, TAIL = '{"messages": [{"role": "user", "content": "', '"}]}'
"""JSON around words of a form's own, `=` among them: a form sends `name=value`."""


@asynccontextmanager
async def lured(browser: Browser, stage: Stage, name: str) -> AsyncIterator[tuple[Watched, Page]]:
    """A stranger's page beside the dashboard's, in a browser that gives the credential with whatever it asks there.

    Chromium keeps a credential to the site that it was given on, and may have forgotten it. Not every browser does.
    """
    async with strangers() as port, visit(browser, stage.proxied) as home:
        await home.page.context.set_extra_http_headers(stage.proxied.credential)
        page = await home.page.context.new_page()
        watched = Watched(page, stage.proxied)
        await page.goto(f"http://{name}:{port}/")
        yield watched, page


async def test_a_strangers_page_opens_no_socket(browser: Browser, stage: Stage, name: str) -> None:
    target = f"ws://{stage.proxied.place}/api/ws?token={await stage.proxied.token()}"
    async with lured(browser, stage, name) as (watched, page):
        assert await page.evaluate(SOCKET, target) == 1006
        (socket,) = watched.sockets("/api/ws")

    assert socket.error == REFUSED


async def test_a_strangers_page_posts_nothing(browser: Browser, stage: Stage, name: str) -> None:
    body = f"{HEAD}post of {name}{TAIL}"
    async with lured(browser, stage, name) as (watched, page):
        assert await page.evaluate(POST, [f"{stage.proxied.origin}/v1/chat/completions", body]) == "opaque"
        await until(lambda: "POST /v1/chat/completions 403" in watched.answers, seconds=5)

    assert stage.model.turns("nas", "default", f"post of {name}") == []


async def test_a_strangers_form_posts_nothing(browser: Browser, stage: Stage, name: str) -> None:
    target, field = f"{stage.proxied.origin}/v1/chat/completions", f"{HEAD}form of {name}"
    async with lured(browser, stage, name) as (_, page):
        async with page.expect_navigation() as navigation:
            await page.evaluate(FORM, [target, field, TAIL])
        answer = await navigation.value
        assert answer is not None
        assert (answer.status, (await answer.json())["error"]["code"]) == (403, "origin_refused")

    assert stage.model.turns("nas", "default", f"form of {name}") == []


async def test_the_agent_would_have_run_it(stage: Stage, name: str) -> None:
    body = f"{HEAD}unasked by {name}={TAIL}\r\n"
    headers = {"Authorization": f"Bearer {stage.agent.key}", "Content-Type": "text/plain"}
    async with httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client:
        answer = await client.post(f"{stage.agent.url}/v1/chat/completions", content=body)

    assert answer.status_code == 200
    assert len(stage.model.turns("nas", "default", f"unasked by {name}")) >= 1
