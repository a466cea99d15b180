"""Pages of another origin than the dashboard's, served on this machine: what they try is for the tests to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fleet.places import LOOPBACK

PAGE = b"<!doctype html><title>a stranger</title>"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"


@asynccontextmanager
async def strangers() -> AsyncIterator[int]:
    """The port of loopback at which every path is a page, until the block ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # a browser opens connections ahead of need
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER % (len(PAGE), PAGE))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
