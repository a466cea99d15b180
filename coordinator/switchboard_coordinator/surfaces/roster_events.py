"""`GET /api/peers/events`: every change of the roster, as it comes. Who reads slowly misses states, and no peer."""

import asyncio
from types import TracebackType
from typing import Any, Self

import orjson
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, leaving_with_client

from switchboard_coordinator import sse
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.serve import Drain

from .reply import BODY_LIMIT_BYTES, Reply, failures_told
from .roster_surface import RosterSurface

QUIET_SECONDS = 4.0
"""After so long without a change a comment says that the line is still there; promised are five seconds."""


class Changes:
    """The names of peers that changed since they were asked for last, each once; a context manager."""

    def __init__(self, roster: Roster) -> None:
        self._telling = roster.telling(self._changed)
        self._names: dict[str, None] = {}
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        self._telling.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._telling.__exit__(kind, error, trace)

    def _changed(self, peer: str) -> None:
        self._names[peer] = None
        self._news.set()

    async def next(self) -> list[str]:
        """Wait until there are some. May be cancelled and called again: nothing is lost."""
        await self._news.wait()
        self._news.clear()
        names, self._names = [*self._names], {}
        return names


class RosterEvents:
    """The endpoint."""

    def __init__(self, roster: Roster, surface: RosterSurface, drain: Drain) -> None:
        self._roster = roster
        self._surface = surface
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One `peers.snapshot`, then a `peer.changed` with the whole peer at every change, until one of us leaves."""
        reply = Reply(scope, receive, send)
        client = Client(receive)
        async with failures_told(reply):
            await client.read(BODY_LIMIT_BYTES)  # a GET has none; whoever leaves is heard only behind it
            async with leaving_with_client(client):
                with Changes(self._roster) as changes:
                    await self._tell(reply, changes)

    async def _tell(self, reply: Reply, changes: Changes) -> None:
        await reply.begin()
        await reply.show([_frame("peers.snapshot", self._surface.snapshot())])
        while not self._drain.has_begun:
            await reply.show(await self._frames(changes))
        await reply.end()

    async def _frames(self, changes: Changes) -> list[bytes]:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                names = await changes.next()
        except TimeoutError:
            return [sse.KEEPALIVE]
        return [_frame("peer.changed", self._surface.peer(name)) for name in names]


def _frame(event: str, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode("ascii"), orjson.dumps(value))
