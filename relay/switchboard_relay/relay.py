"""Carry one answer to one ASGI client. Whoever leaves first releases the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from .connection import Answer
from .errors import BodyTooLarge, ClientLeft
from .pool import Pool
from .wire import Header, Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Client:
    """The client's side of one exchange: its request body, and the news that it left."""

    __slots__ = ("_is_read", "_receive", "has_left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = asyncio.Event()
        self.has_left = False

    async def body(self) -> bytes | AsyncIterator[bytes]:
        """The request body: whole where all of it has arrived already, else as it arrives.

        Raises:
            ClientLeft: the client went before its end.
        """
        first = await self._piece()
        return first if self._is_read.is_set() else _continued(first, self.pieces())

    async def read(self, limit: int) -> bytes:
        """The whole request body.

        Raises:
            BodyTooLarge: it is longer than `limit` bytes.
            ClientLeft: the client went before its end.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self.pieces():
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(limit)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The request body as it arrives.

        Raises:
            ClientLeft: the client went before its end.
        """
        while not self._is_read.is_set():
            yield await self._piece()

    async def _piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.has_left = True
            self._is_read.set()
            raise ClientLeft
        if not message.get("more_body", False):
            self._is_read.set()
        body: bytes = message.get("body", b"")
        return body

    async def left(self) -> None:
        """Wait until the client has gone."""
        await self._is_read.wait()
        while not self.has_left:
            message = await self._receive()
            self.has_left = message["type"] == "http.disconnect"


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


class leaving_with_client:  # noqa: N801 - reads as a statement: `async with leaving_with_client(client):`
    """Cancel this block when the client goes; `client.has_left` says so afterwards."""

    __slots__ = ("_block", "_client", "_is_cancelling", "_watch")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_cancelling = False

    async def __aenter__(self) -> Self:
        block = asyncio.current_task()
        assert block is not None  # noqa: S101 - a coroutine runs in a task
        self._block = block
        self._watch = asyncio.create_task(self._cancel_when_left())
        return self

    async def _cancel_when_left(self) -> None:
        await self._client.left()
        self._is_cancelling = True
        self._block.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watch.cancel()
        if not self._is_cancelling:
            return False
        if kind is None:  # the block ended in the same moment: take delivery of the cancellation here
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                kind = asyncio.CancelledError
        return self._block.uncancel() == 0 and kind is asyncio.CancelledError


@dataclass(slots=True)
class Carried:
    """How far one answer got: `status` 0 means that none began."""

    status: int = 0
    body_bytes: int = 0


async def carry(
    pool: Pool,
    request: Request,
    client: Client,
    send: Send,
    *,
    answer_headers: Callable[[Answer], Iterable[Header]],
    carried: Carried,
) -> None:
    """Ask upstream and pass the answer on, piece by piece as it comes; `carried` is filled on the way.

    Nothing is buffered: a client that reads slowly holds its own upstream back. When the client goes the upstream
    connection is closed at once and this returns.

    Raises:
        RelayError: while `carried.status` is 0 the client can still be answered; later it must see a broken answer.
    """
    async with leaving_with_client(client), pool.exchange(request) as answer:
        await send({"type": "http.response.start", "status": answer.status, "headers": [*answer_headers(answer)]})
        carried.status = answer.status
        async for piece in answer:
            await send({"type": "http.response.body", "body": piece, "more_body": not answer.is_complete})
            carried.body_bytes += len(piece)
            if answer.is_complete:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
