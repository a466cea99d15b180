"""What stands behind the proxy while cases are sent: keeps what comes and reads it as strictly as the oracle does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from .passage import Passage
from .strict_reader import End, Request, read

SIDES = ("agent", "dashboard", "webui")
SEEN = b"x-seen"


@dataclass(frozen=True, slots=True)
class Half:
    """A request that was not whole when its connection ended."""

    side: str
    begun: Request | None
    data: bytes


@dataclass
class Witnesses:
    """One listener for each side; what they saw together.

    Each complete request is answered 200 with its number in `seen` in the header `X-Seen`: so whoever asked knows it.
    """

    ports: dict[str, int] = field(default_factory=dict)
    seen: list[Passage] = field(default_factory=list)
    halves: list[Half] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """What the oracle refuses of that which the proxy itself wrote."""
    received_bytes: int = 0
    under_way: set["Witness"] = field(default_factory=set)
    """Connections on which a request is not whole yet."""


class Witness(asyncio.Protocol):
    """One connection from the proxy."""

    def __init__(self, side: str, witnesses: Witnesses) -> None:
        self._side = side
        self._witnesses = witnesses
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        witnesses = self._witnesses
        witnesses.received_bytes += len(data)
        self._rest += data
        while self._rest:
            reading = read(self._rest)
            self._rest = reading.rest
            for request in reading.requests:
                self._transport.write(
                    b"HTTP/1.1 200 OK\r\nX-Seen: %d\r\nContent-Length: 0\r\n\r\n" % len(witnesses.seen)
                )
                witnesses.seen.append(Passage(self._side, request.method, request.target, request.body))
            if reading.end is End.REFUSED:
                witnesses.unread.append(f"{reading.why}: {self._rest!r}")
                self._transport.abort()
                self._rest = b""
            if reading.end is not End.OVER:  # an offer of another protocol was declined: HTTP goes on
                break
        (witnesses.under_way.add if self._rest else witnesses.under_way.discard)(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._witnesses.under_way.discard(self)
        if self._rest:
            self._witnesses.halves.append(Half(self._side, read(self._rest).begun, self._rest))


@asynccontextmanager
async def witnesses() -> AsyncIterator[Witnesses]:
    """All sides on free ports of loopback, until the block ends."""
    there = Witnesses()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for side in SIDES:
            server = await loop.create_server(lambda side=side: Witness(side, there), "127.0.0.1", 0, backlog=1024)  # type: ignore[misc]
            stack.callback(server.close)
            there.ports[side] = server.sockets[0].getsockname()[1]
        yield there
