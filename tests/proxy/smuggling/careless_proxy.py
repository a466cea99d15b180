"""A proxy like ours but for one defect: it mends what ours refuses. To show that the harness would find such a one.

It reads with the oracle, after the mending; so without a defect it is right by definition.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress

from .experiment import SETTLE_SECONDS, Experiment
from .passage import Passage, Proxy
from .strict_reader import End, read
from .witness import Witnesses, witnesses

Mending = Callable[[bytes], bytes]

_REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _replaced(pattern: bytes, by: bytes | Callable[[re.Match[bytes]], bytes]) -> Mending:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda data: compiled.sub(by, data)


def _last_length(data: bytes) -> bytes:
    """Keep the last Content-Length of each head alone."""
    return b"\r\n\r\n".join(_FORMER_LENGTH.sub(b"", part) for part in data.split(b"\r\n\r\n"))


def _behind_the_error(data: bytes) -> bytes:
    """Read on behind the head that is refused."""
    kept = b""
    while read(data).end is End.REFUSED:
        reading = read(data)
        kept += data[: len(data) - len(reading.rest)]
        data = reading.rest.partition(b"\r\n\r\n")[2]
    return kept + data


_FORMER_LENGTH = re.compile(rb"content-length:[^\r\n]*\r\n(?=(?:.*\r\n)?content-length:)", re.IGNORECASE | re.DOTALL)

DEFECTS: dict[str, Mending] = {
    "lets any Transfer-Encoding through that ends in chunked": _replaced(
        rb"(transfer-encoding:)[^\r\n]*,[ \t]*chunked[ \t]*\r\n", rb"\1 chunked\r\n"
    ),
    "takes any Transfer-Encoding that holds chunked": _replaced(
        rb"(transfer-encoding:)[^\r\n]*chunked[^\r\n]*\r\n", rb"\1 chunked\r\n"
    ),
    "leaves out an encoding that it does not know": _replaced(rb"transfer-encoding:(?! *chunked *\r)[^\r\n]*\r\n", b""),
    "takes the last of two Content-Lengths": _last_length,
    "takes the first of a list of lengths": _replaced(rb"(content-length: *[0-9]+),[^\r\n]*", rb"\1"),
    "takes a sign before a length": _replaced(rb"(content-length: *)\+", rb"\1"),
    "lets Content-Length win over Transfer-Encoding": _replaced(
        rb"(content-length:[^\r\n]*\r\n)transfer-encoding:[^\r\n]*\r\n", rb"\1"
    ),
    "lets Transfer-Encoding win over Content-Length": _replaced(
        rb"content-length:[^\r\n]*\r\n(transfer-encoding:[^\r\n]*\r\n)", rb"\1"
    ),
    "takes a bare LF for the end of a line": _replaced(rb"(?<!\r)\n", b"\r\n"),
    "takes a bare CR for a space": _replaced(rb"\r(?!\n)(?=.)", b" "),
    "joins folded lines": _replaced(rb"\r\n[ \t]+(?=[^\r\n])", b" "),
    "leaves out space before a colon": _replaced(rb"(\r\n[a-z-]+)[ \t]+:", rb"\1:"),
    "leaves out NUL": _replaced(rb"\0", b""),
    "leaves out chunk extensions": _replaced(rb"(\r\n[0-9a-f]+);[^\r\n]*", rb"\1"),
    "leaves out space behind a chunk size": _replaced(rb"(\r\n[0-9a-f]+)[ \t]+\r\n", rb"\1\r\n"),
    "takes 0x before a chunk size": _replaced(rb"\r\n0x([0-9a-f]+\r\n)", rb"\r\n\1"),
    "leaves out trailers": _replaced(rb"(\r\n0\r\n)(?:[a-z-]+:[^\r\n]*\r\n)+", rb"\1"),
    "takes the absolute form": _replaced(rb"(?<= )https?://[a-z.]+(?=/)", b""),
    "speaks HTTP/1.0": _replaced(rb" HTTP/1\.0\r\n", b" HTTP/1.1\r\n"),
    "leaves out an empty line before a request": _replaced(rb"(^|\r\n\r\n)\r\n", rb"\1"),
    "passes an Upgrade to h2c": _replaced(rb"upgrade: h2c\r\n", b""),
    "takes the first of two Hosts": _replaced(rb"(host:[^\r\n]*\r\n)((?:[^\r\n]+\r\n)*?)host:[^\r\n]*\r\n", rb"\1\2"),
    "decodes dots and slashes in a path": _replaced(
        rb"%2[ef](?=[^ \r\n?]* )", lambda found: b"." if found[0].lower() == b"%2e" else b"/"
    ),
    "reads on behind an error": _behind_the_error,
}


@asynccontextmanager
async def careless_proxy(mending: Mending, settle_seconds: float = SETTLE_SECONDS) -> AsyncIterator[Experiment]:
    """A proxy with this defect and witnesses behind it, in this loop, until the block ends."""
    async with witnesses() as behind:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(_answer(Proxy(port), behind, mending, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
        port: int = server.sockets[0].getsockname()[1]
        try:
            yield Experiment(Proxy(port), behind, settle_seconds)
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(
    proxy: Proxy, behind: Witnesses, mending: Mending, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the requests of one connection; all that came is read anew each time."""
    data, answered = b"", 0
    with suppress(ConnectionError), closing(writer):
        while came := await reader.read(65536):
            data += came
            reading = read(mending(data))
            for request in reading.requests[answered:]:
                passage = proxy.passage(request)
                writer.write(await _ask(behind, passage) if passage is not None else _NOT_HERE)
            answered = len(reading.requests)
            if reading.end is not End.WAITING:
                if reading.end is End.REFUSED:
                    writer.write(_REFUSAL)
                break


async def _ask(behind: Witnesses, passage: Passage) -> bytes:
    """The whole answer of the side that a request leads to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", behind.ports[passage.side])
    head = b"%b %b HTTP/1.1\r\nHost: behind\r\n" % (passage.method, passage.target)
    with closing(writer):
        writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(passage.body), passage.body))
        return await reader.readuntil(b"\r\n\r\n")
