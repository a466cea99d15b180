"""The ASGI client of one exchange: its request body, and the news that it left."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from .errors import BodyTooLarge, ClientLeft

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Client:
    """The client's side of one exchange: its request body, and the news that it left."""

    __slots__ = ("_is_read", "_receive", "has_left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = asyncio.Event()
        self.has_left = False

    async def read(self, limit: int) -> bytes:
        """The whole request body.

        Raises:
            BodyTooLarge: it is longer than `limit` bytes.
            ClientLeft: the client went before its end.
        """
        pieces: list[bytes] = []
        size = 0
        while not self._is_read.is_set():
            piece = await self._piece()
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(limit)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

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
