"""The sockets of the dashboard, as its own pages use them."""

import pytest
from playwright.async_api import Browser

from browser.stage import Stage, Way
from browser.watched import REFUSED, SOCKET, Watched, visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCREEN = ".xterm-rows"
SAID = "hello-peer"
TYPED_MS = 50.0
"""As a person types: the terminal of hermes-agent 0.19.0 draws other spaces than were typed if they are typed fast."""

CONSOLE = """async target => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}${target}`)
    const heard = []
    socket.onmessage = event => heard.push(JSON.parse(event.data))
    const next = type => new Promise((found, lost) => {
        socket.onclose = event => lost(new Error(`closed with ${event.code}`))
        const look = () => {
            const it = heard.find(frame => frame.type === type)
            it ? found(it) : setTimeout(look, 10)
        }
        look()
    })
    await next('ready')
    socket.send(JSON.stringify({type: 'command', command: 'help'}))
    return (await next('output')).data
}"""

NEW_TASK = """([token, title]) => fetch('/api/plugins/kanban/tasks', {
    method: 'POST', body: JSON.stringify({title}),
    headers: {'Content-Type': 'application/json', 'X-Hermes-Session-Token': token},
}).then(answer => answer.status)"""


async def talk(chat: Watched) -> None:
    """Type a message in the terminal of the Chat tab, see its echo and its answer; all of the tab's sockets speak."""
    await chat.shows("ready", SCREEN)
    await chat.page.locator(".xterm").click()
    await chat.page.keyboard.type(SAID, delay=TYPED_MS)
    await chat.shows(f"❯ {SAID}", SCREEN)
    await chat.page.keyboard.press("Enter")
    await chat.shows(f"[nas] echo: {SAID}", SCREEN)
    await chat.hears("/api/pty", b"\x1b[")
    await chat.hears("/api/ws", "gateway.ready")
    await chat.hears("/api/events", "message.complete")


async def test_what_is_typed_in_the_chat_tabs_terminal_is_echoed_and_answered(browser: Browser, way: Way) -> None:
    async with visit(browser, way, "/chat") as chat:
        await talk(chat)


async def test_the_kanban_tab_hears_of_a_new_task(browser: Browser, way: Way) -> None:
    async with visit(browser, way, "/kanban") as kanban:
        await kanban.settled()
        status = await kanban.page.evaluate(NEW_TASK, [await way.token(), f"sweep {way.name}"])
        await kanban.hears("/api/plugins/kanban/events", "created")
        await kanban.shows(f"sweep {way.name}", "main")

    assert status == 200


async def test_a_page_commands_the_console(browser: Browser, way: Way) -> None:
    async with visit(browser, way) as page:
        said = await page.page.evaluate(CONSOLE, f"/api/console?token={await way.token()}")

    assert said.startswith("Hermes Console")


async def test_a_page_whose_token_is_wrong_gets_the_dashboards_403(browser: Browser, way: Way) -> None:
    async with visit(browser, way) as page:
        assert await page.page.evaluate(SOCKET, f"ws://{way.place}/api/console?token=wrong") == 1006
        (refused,) = page.sockets("/api/console")

    assert refused.error == REFUSED


async def test_a_browser_that_sends_no_basic_on_handshakes_opens_its_sockets_with_the_cookie(
    browser: Browser, stage: Stage
) -> None:
    async with visit(browser, stage.proxied, "/chat", is_safari=True) as chat:
        await talk(chat)
        cookies = await chat.page.context.cookies()

    assert [(cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) for cookie in cookies] == [
        (True, "Strict", False)
    ]
    assert not any(complaint.startswith("socket") for complaint in chat.complaints)
