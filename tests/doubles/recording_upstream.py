"""What stands behind a proxy: records every connection and request byte by byte, and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request as it came in."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query."""
        return self.line.split(" ")[1]

    def all(self, name: str) -> list[str]:
        """Every value of one header; the name in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


Script = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def say_ok(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The script that a test did not replace."""
    writer.write(answer(200, "Content-Type: text/plain", body=b"ok"))


@dataclass
class RecordingUpstream:
    """`script` answers each request; a test may replace it. A script that returns without closing keeps the line."""

    port: int = 0
    connections: int = 0
    open_now: int = 0
    requests: list[Asked] = field(default_factory=list)
    script: Script = say_ok

    def always(self, data: bytes) -> None:
        """Answer every request with these bytes."""

        async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)

        self.script = script

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        try:
            while True:
                asked = await _read(reader)
                self.requests.append(asked)
                await self.script(asked, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = [line.partition(":") for line in lines[1:]]
    asked = Asked(lines[0], [(name, value.strip()) for name, _, value in pairs])
    if asked.all("transfer-encoding"):
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        asked.body = b"".join(pieces)
        await reader.readuntil(b"\r\n")
    elif lengths := asked.all("content-length"):
        asked.body = await reader.readexactly(int(lengths[0]))
    return asked


@asynccontextmanager
async def recording_upstream() -> AsyncIterator[RecordingUpstream]:
    """An upstream on a free port of loopback, until the block ends."""
    upstream = RecordingUpstream()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(upstream._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**20)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
