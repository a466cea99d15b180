"""An upstream at the level of TCP: it reads what comes and says, byte for byte, what its script says."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Self

LOOPBACK = "127.0.0.1"


class Visit:
    """One connection to the upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        """Set when the other side has closed, once the script waits for it or has ended."""
        self._reader, self._writer = reader, writer

    async def head(self) -> bytes:
        """The head of the next request, which is not recorded. A body that nobody reads backs up at who sends it."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """The next request, head and body as they came. Raises IncompleteReadError where none comes."""
        head = await self.head()
        names = {
            name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
        }
        body = await self._reader.readexactly(int(names.get(b"content-length", b"0")))
        if names.get(b"transfer-encoding") == b"chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += await self._reader.readuntil(b"\r\n")
        self.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        """Say this."""
        self._writer.write(data)
        await self._writer.drain()

    async def some(self) -> bytes:
        """Whatever comes next; empty at the end."""
        return await self._reader.read(65536)

    async def wait_until_left(self) -> None:
        """Wait until the other side has closed; what it still sends is dropped."""
        with suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.left.set()

    def end(self) -> None:
        """Close in good order."""
        self._writer.close()

    def abort(self) -> None:
        """Close without a word more; where nothing unread is left, the other side sees an end in good order."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Break the connection: the other side sees an error."""
        self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        self.abort()


Script = Callable[[Visit], Awaitable[None]]


class Upstream:
    """A context manager that listens on loopback. `script` runs for each connection, which stays open after it."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.visits: list[Visit] = []
        self._script, self._tls, self._asked_port = script, tls, port
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def requests(self) -> list[bytes]:
        """Everything that was asked, over all connections."""
        return [request for visit in self.visits for request in visit.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._visited, LOOPBACK, self._asked_port, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        visit = Visit(reader, writer)
        self.visits.append(visit)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(visit)
            await visit.wait_until_left()
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's streams would report it as an error of ours
        finally:
            self._tasks.discard(task)
            writer.close()


def saying(*answers: bytes) -> Script:
    """A script that answers the requests of each connection with these, one after the other, the last for ever."""

    async def script(visit: Visit) -> None:
        number = 0
        while True:
            await visit.request()
            await visit.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script
