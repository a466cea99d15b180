"""A page under watch: what it asked for, what came, what went wrong, and what its sockets said."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from playwright.async_api import Browser, ConsoleMessage, HttpCredentials, Page, Request, WebSocket
from waiting import until

from browser.stage import USER, Way

SECONDS = 60.0  # the first terminal of a dashboard takes 10 s on a busy machine
QUIET_SECONDS = 0.2  # a page that has more to ask asks at once
SPINNER = re.compile("(?<![\u2800-\u28ff])[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏](?![\u2800-\u28ff])")
"""One sign of Braille alone; among others of its kind it is a drawing, as the chat's terminal has one."""
SHOWN = "[...document.querySelectorAll('main, main iframe')].map(it => it.src ?? it.innerText.trim()).join('')"
LEFT = "WebSocket is closed before the connection is established."  # the page itself closed it, on its way elsewhere
REFUSED = "Error during WebSocket handshake: Unexpected response code: 403"
SOCKET = """url => new Promise(done => {
    const socket = new WebSocket(url)
    socket.onopen = () => done('open')
    socket.onclose = event => done(event.code)
})"""
TOKEN = re.compile(r"token=[^&\s']+")


class Socket:
    """One WebSocket of a page: every frame as it came, text as text and binary as bytes; why it did not open."""

    def __init__(self, socket: WebSocket) -> None:
        self.received: list[str | bytes] = []
        self.error: str | None = None
        # Playwright writes into what it calls, and a method of a list takes no writing.
        socket.on("framereceived", lambda frame: self.received.append(frame))
        socket.on("socketerror", self._failed)

    def _failed(self, error: str) -> None:
        self.error = error


class Watched:
    """A page of `way`, from its first request on. Words name targets without the origin and the query."""

    def __init__(self, page: Page, way: Way) -> None:
        self.page = page
        self.answers: set[str] = set()
        self.complaints: set[str] = set()
        self._way, self._sockets = way, list[tuple[str, Socket]]()
        self._open, self._asked = set[Request](), monotonic()
        page.on("request", self._requested)
        page.on("requestfinished", lambda request: self._open.discard(request))
        page.on("requestfailed", self._failed)
        page.on("response", lambda answer: self.answers.add(self._told(answer.request, answer.status)))
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.add(f"error in the page: {self._plain(str(error))}"))
        page.on("websocket", self._connected)

    def sockets(self, path: str) -> list[Socket]:
        """All sockets of this path, the oldest first: a page opens one anew as it likes."""
        return [socket for name, socket in self._sockets if name == path]

    async def hears(self, path: str, words: str | bytes) -> None:
        """Wait until a socket of this path gets a frame, of text or binary as `words` are, that contains them."""

        def has_come() -> bool:
            frames = [frame for socket in self.sockets(path) for frame in socket.received]
            if isinstance(words, str):
                return any(words in frame for frame in frames if isinstance(frame, str))
            return any(words in frame for frame in frames if isinstance(frame, bytes))

        await until(has_come, seconds=SECONDS)

    async def shown(self) -> str:
        """The text that it shows; empty while it still loads: it asked for something just now, or a spinner turns."""
        text: str = await self.page.evaluate(SHOWN)
        is_quiet = not self._open and monotonic() - self._asked > QUIET_SECONDS
        return text if is_quiet and not SPINNER.search(text) else ""

    async def settled(self) -> str:
        """Wait until it has loaded and shows something; what it shows."""
        shown = ""

        async def is_settled() -> bool:
            nonlocal shown
            shown = await self.shown()
            return shown != ""

        await until(is_settled, seconds=SECONDS)
        return shown

    async def shows(self, words: str, within: str) -> None:
        """Wait until the element `within` contains these words; where it does not, tell what it shows."""
        place = self.page.locator(within)
        shown = ""

        async def is_there() -> bool:
            nonlocal shown
            shown = (await place.inner_text()).replace("\xa0", " ")
            return words in shown

        try:
            await until(is_there, seconds=SECONDS)
        except TimeoutError as error:
            error.add_note(f"{within} shows\n{shown}")
            raise

    def _requested(self, request: Request) -> None:
        self._open.add(request)
        self._asked = monotonic()

    def _failed(self, request: Request) -> None:
        self._open.discard(request)
        self.complaints.add(f"failed: {self._told(request, request.failure or '')}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = self._plain(message.location["url"]).partition("?")[0]
            self.complaints.add(f"console: {self._plain(message.text)} ({where})")

    def _connected(self, socket: WebSocket) -> None:
        path = self._plain(socket.url).partition("?")[0]
        self._sockets.append((path, Socket(socket)))
        socket.on("socketerror", lambda error: self._broke(path, error))

    def _broke(self, path: str, error: str) -> None:
        if error != LEFT:
            self.complaints.add(f"socket {path}: {error}")

    def _told(self, request: Request, outcome: int | str) -> str:
        return f"{request.method} {self._plain(request.url).partition('?')[0]} {outcome}"

    def _plain(self, text: str) -> str:
        for scheme in ("http", "ws"):
            text = text.replace(f"{scheme}://{self._way.place}", "")
        return TOKEN.sub("token=…", text)


@asynccontextmanager
async def visit(browser: Browser, way: Way, path: str = "/", *, is_safari: bool = False) -> AsyncIterator[Watched]:
    """A page of the dashboard in a browser of its own, whose user knows the password.

    Where it `is_safari` the credential goes with every request but a WebSocket's handshake, which no route sees.
    """
    known = None
    if way.password is not None and not is_safari:
        known = HttpCredentials(username=USER, password=way.password, origin=way.origin)
    context = await browser.new_context(http_credentials=known)
    if is_safari:
        await context.route("**", lambda route: route.continue_(headers=route.request.headers | way.credential))
    try:
        watched = Watched(await context.new_page(), way)
        await watched.page.goto(way.origin + path)
        yield watched
    finally:
        await context.close()
