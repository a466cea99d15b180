"""What the browser meets: a real agent with its dashboard, a real proxy before it, and pages of strangers."""

import re
import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import playwright
from doubles.raw_client import basic
from fleet.places import LOOPBACK
from fleet.process import Process
from free_ports import port
from real_agent.agent import RealAgent
from real_agent.model import Model
from real_agent.switchboard import private
from waiting import until
from websockets.asyncio.client import connect

NAME, STRANGER = "peer.test", "stranger.test"
USER = "coordinator"
NODE_FOLDER = Path(playwright.__file__).parent / "driver"  # Playwright ships a node; the Chat tab's terminal needs one
UP_SECONDS, ANSWER_SECONDS = 30.0, 30.0
TOKEN = re.compile(r'window\.__HERMES_SESSION_TOKEN__="([^"]+)"')


@dataclass(frozen=True)
class Way:
    """One way to the dashboard: what it is called in a URL, its port on loopback, the password where one is asked."""

    name: str
    port: int
    password: str | None = None

    @property
    def place(self) -> str:
        """The Host of its requests."""
        return f"{self.name}:{self.port}"

    @property
    def origin(self) -> str:
        """Where its pages are."""
        return f"http://{self.place}"

    @property
    def credential(self) -> dict[str, str]:
        """The Authorization header that it asks for."""
        return {} if self.password is None else {"Authorization": basic(USER, self.password)}

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that calls it by its name and has the credential."""
        return httpx.AsyncClient(
            base_url=f"http://{LOOPBACK}:{self.port}",
            headers={"Host": self.place, **self.credential, **headers},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )

    async def token(self) -> str:
        """The session token that the dashboard gives with its page."""
        async with self.client() as client:
            found = TOKEN.search((await client.get("/")).text)
        assert found is not None
        return found[1]

    def socket(self, target: str, headers: dict[str, str] | None = None) -> connect:
        """A WebSocket to be used as `async with`; `headers` stand in for the credential where they are given."""
        headers = self.credential if headers is None else headers
        url = f"ws://{self.place}{target}"
        return connect(url, host=LOOPBACK, port=self.port, additional_headers=headers, proxy=None)


class Stage:
    """The agent `nas`, its dashboard reached `directly` and `proxied`; a context manager, all files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.model = Model()
        self.agent = RealAgent("nas", self.model, folder / "nas", dashboard=True, tools=NODE_FOLDER)
        self.files = folder / "nas" / "user"  # the home of the dashboard's user, which its Files tab shows
        self.directly = Way(LOOPBACK, self.agent.dashboard_port)
        self.proxied = Way(NAME, port(LOOPBACK), secrets.token_hex(16))
        self._folder, self._log = folder, folder / "proxy.log"
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.model)
            await self._stack.enter_async_context(self.agent)
            self._stack.push_async_callback(self.agent.kill)
            await self._start_proxy()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def last_words(self) -> dict[str, str]:
        """The ends of all logs, for a message."""
        logs = {"nas": self.agent.log(), "proxy": self._log.read_text() if self._log.exists() else ""}
        return {name: "\n".join(log.splitlines()[-40:]) for name, log in logs.items()}

    async def _start_proxy(self) -> None:
        folder = self._folder / "secrets"
        folder.mkdir(mode=0o700)
        private(folder / "proxy_password", self.proxied.password or "")
        private(folder / "api_server_key", self.agent.key)
        settings = {
            "LISTEN_ADDRESS": LOOPBACK,
            "PORT": self.proxied.port,
            "NAMES": NAME,
            "SECRETS_FOLDER": folder,
            "DASHBOARD_PORT": self.agent.dashboard_port,
            "PROFILES": f'{{"default": {{"port": {self.agent.api_port}}}}}',
        }
        env = {f"SWITCHBOARD_PROXY_{key}": str(value) for key, value in settings.items()}
        process = Process("proxy", "switchboard-proxy", "serve", env=env, log=self._log)
        await self._stack.enter_async_context(process)

        async def answers() -> bool:
            process.check()
            with suppress(httpx.TransportError):
                async with self.proxied.client() as client:
                    return (await client.get("/api/status")).status_code == 200
            return False

        await until(answers, seconds=UP_SECONDS)
