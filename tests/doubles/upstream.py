"""A scripted upstream: a TCP server on loopback that reads requests and writes exactly the bytes that its script says.

    async def script(conversation: Conversation) -> None:   # runs once for each connection
        request = await conversation.request()
        await conversation.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nh")
        await released.wait()
        await conversation.write(b"i")

    async with upstream(script) as up:                      # `always(bytes)` is a script that answers every request
        ... connect to 127.0.0.1, up.port ...
        await up.conversations[0].peer_left()               # and `.left_at`, in the event loop's time

When its script ends the connection stays open until the peer or the block ends it; a script closes with `close()` or
`abort()`. An error of a script fails the test at the end of the block, unless the peer had left.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from waiting import until

WAIT_SECONDS = 10.0


@dataclass
class Received:
    """A request as it came; names of headers in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    raw_head: bytes
    body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Conversation:
    """One connection to the upstream. Every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests: list[Received] = []
        self.left_at: float | None = None
        """When the peer closed or reset the connection, in the event loop's time; None while it has not."""
        self.was_reset = False
        """Whether the peer left by a reset, and not by a clean close."""
        self._reader = reader
        self._writer = writer
        self._left = asyncio.Event()
        self._data = asyncio.Event()
        self._buffer = bytearray()
        self._is_held = asyncio.Event()
        self._is_held.set()

    # What scripts call.

    async def head(self) -> Received:
        """The next request's head; its body is not read."""
        raw = await self._until(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        pairs = [line.partition(":") for line in lines]
        received = Received(method, target, [(name.lower(), value.strip()) for name, _, value in pairs], raw)
        self.requests.append(received)
        return received

    async def request(self) -> Received:
        """The next request, whole: by its Content-Length or its chunks."""
        received = await self.head()
        if received["transfer-encoding"] == "chunked":
            while piece := await self.chunk():
                received.body += piece
        elif length := received["content-length"]:
            received.body = await self.exactly(int(length))
        return received

    async def chunk(self) -> bytes:
        """One chunk of a chunked body; empty at its end."""
        size = int(await self._until(b"\r\n"), 16)
        return (await self.exactly(size + 2))[:-2]

    async def exactly(self, count: int) -> bytes:
        """Exactly so many bytes."""
        await self._wait(lambda: len(self._buffer) >= count)
        return self._taken(count)

    async def write(self, data: bytes) -> None:
        """Write exactly this; returns when the peer takes it, without a deadline: peers may be slow on purpose."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close cleanly: what was written arrives, then the end."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    def half_close(self) -> None:
        """Say that nothing more comes, and go on reading."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Reset the connection; what was not sent yet is lost."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def hold_reading(self) -> None:
        """Take no more bytes from now on, so that the peer's writes back up. The peer's leaving is then not seen."""
        self._is_held.clear()

    def go_on_reading(self) -> None:
        """Take bytes again."""
        self._is_held.set()

    # What tests ask.

    @property
    def has_left(self) -> bool:
        """Whether the peer has closed or reset the connection."""
        return self._left.is_set()

    async def peer_left(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the peer has closed or reset the connection."""
        async with asyncio.timeout(seconds):
            await self._left.wait()

    # How bytes come in: read at once whatever the script does, for only who reads notices that the peer left.

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._is_held.wait()
                data = await self._reader.read(65536)
                if not data:
                    break
                self._buffer += data
                self._data.set()
        except OSError:
            self.was_reset = True
        finally:
            self.left_at = loop.time()
            self._left.set()
            self._data.set()

    async def _until(self, mark: bytes) -> bytes:
        await self._wait(lambda: mark in self._buffer)
        return self._taken(self._buffer.index(mark) + len(mark))

    async def _wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                if self.has_left:
                    raise ConnectionError("the peer left before its request was complete")
                self._data.clear()
                await self._data.wait()

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


Script = Callable[[Conversation], Awaitable[None]]


@dataclass
class Upstream:
    """A running upstream: its `port` on 127.0.0.1 and every connection that was made to it, oldest first."""

    port: int
    conversations: list[Conversation] = field(default_factory=list)

    @property
    def requests(self) -> list[Received]:
        """All requests on all connections."""
        return [request for conversation in self.conversations for request in conversation.requests]

    async def connected(self, count: int = 1, seconds: float = WAIT_SECONDS) -> Conversation:
        """Wait until so many connections have been made; gives the last of them."""
        await until(lambda: len(self.conversations) >= count, seconds=seconds)
        return self.conversations[count - 1]


def always(answer: bytes) -> Script:
    """A script that answers every request with these bytes and keeps the connection open."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await conversation.write(answer)

    return script


def one_by_one(*scripts: Script) -> Script:
    """The first connection follows the first script, the second the second; those beyond the last follow the last."""
    waiting = [*scripts]

    async def script(conversation: Conversation) -> None:
        chosen = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        await chosen(conversation)

    return script


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    """An upstream that follows the script on each connection, until the block ends; connections are then reset."""
    up = Upstream(port=0)
    tasks: list[asyncio.Task[None]] = []
    errors: list[Exception] = []

    async def converse(conversation: Conversation) -> None:
        reading = asyncio.create_task(conversation._read())
        try:
            await script(conversation)
            await reading
        except Exception as error:  # noqa: BLE001 - told at the end of the block, where the test sees it
            if not conversation.has_left:
                errors.append(error)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            conversation.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(reader, writer)
        up.conversations.append(conversation)
        tasks.append(asyncio.create_task(converse(conversation)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    up.port = server.sockets[0].getsockname()[1]
    try:
        yield up
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    if errors:
        raise ExceptionGroup("a script of the upstream failed", errors)
