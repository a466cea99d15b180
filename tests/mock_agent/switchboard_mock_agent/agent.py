"""One mock agent: API server and dashboard on this machine's loopback."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from .api import Api
from .dashboard import Dashboard
from .gateway import KEEPALIVE_SECONDS, SUBSCRIBE_SECONDS, Gateway
from .record import Received, Record, Turn

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 0.05
"""The real one cuts its streams 5 s after SIGTERM (restart_drain_timeout 0); this one at once."""


class MockAgent:
    """A context manager; port 0 takes a free one. Leaving cuts what is still being answered, without its end mark.

    Entered again it is the same agent, restarted: same ports, sessions and record; its runs are lost. `gateway` may be
    changed while it runs: its limit, whether it drains, whether it is degraded.
    """

    def __init__(
        self,
        name: str = "nas",
        *,
        key: str = "mock-api-server-key-0123456789",
        profiles: Sequence[str] = ("default",),
        multiplex: bool = False,
        max_turns: int = 10,
        api_port: int = 0,
        dashboard_port: int = 0,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        subscribe_seconds: float = SUBSCRIBE_SECONDS,
        keep: int | None = None,
    ) -> None:
        self.key = key
        self.api_port, self.dashboard_port = api_port, dashboard_port
        self.gateway = Gateway(name, key, tuple(profiles), multiplex, max_turns, keepalive_seconds, subscribe_seconds)
        self._record = Record(keep)
        self._api, self._dashboard = Api(self.gateway, self._record), Dashboard(self._record)
        self._stack = AsyncExitStack()

    @property
    def turns(self) -> list[Turn]:
        """The turns that were accepted, in order: what was executed. The newest `keep`, where that is given."""
        return self._record.turns

    def executed(self, text: str) -> list[Turn]:
        """The turns whose message contains this."""
        return [turn for turn in self._record.turns if text in turn.text]

    @property
    def requests(self) -> list[Received]:
        """Everything that came, to either port."""
        return self._record.requests

    async def __aenter__(self) -> Self:
        try:
            self.api_port = await self._listen(self._api.app(), self.api_port)
            self.dashboard_port = await self._listen(self._dashboard.app(), self.dashboard_port)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _listen(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=3600)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, LOOPBACK, port).start()
        return int(runner.addresses[0][1])
