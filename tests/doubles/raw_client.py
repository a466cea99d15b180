"""An HTTP/1.1 client that sends exactly the bytes it is told to, and reads an answer piece by piece."""

import asyncio
import base64
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

WAIT_SECONDS = 10.0
WEBSOCKET = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""The headers that offer one (RFC 6455, 1.2)."""


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class Reply:
    """An answer as it came; names of `headers` in the case they came in."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of one header."""
        return [value for key, value in self.headers if key.lower() == name]

    def __getitem__(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


class RawClient:
    """One connection to a port of loopback, from another address of it if need be; every wait has a deadline."""

    def __init__(self, port: int, source: str | None = None) -> None:
        self._port = port
        self._source = (source, 0) if source else None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=self._source)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._writer.write(data)

    async def drained(self) -> None:
        """Wait until most of what was sent has left."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._writer.drain()

    def leave(self) -> None:
        """Go at once, without a farewell."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Go in a way that the other side sees whatever is still on its way."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    async def head(self) -> Reply:
        """Status and headers of the next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        pairs = [line.partition(":") for line in lines[1:]]
        return Reply(int(lines[0].split(" ")[1]), [(name, value.strip()) for name, _, value in pairs])

    async def piece(self) -> bytes:
        """One chunk of a chunked body; empty at its end.

        Raises:
            asyncio.IncompleteReadError: the connection ended before.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def exactly(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            asyncio.IncompleteReadError: the connection ended before.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._reader.readexactly(size)

    async def reply(self, method: str = "GET") -> Reply:
        """The next answer, whole."""
        reply = await self.head()
        length = reply["content-length"]
        if method == "HEAD" or reply.status in (204, 304) or reply.status < 200:
            return reply
        if reply["transfer-encoding"] == "chunked":
            while piece := await self.piece():
                reply.body += piece
        elif length is not None:
            async with asyncio.timeout(WAIT_SECONDS):
                reply.body = await self._reader.readexactly(int(length))
        else:
            reply.body = await self.rest()
        return reply

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""
