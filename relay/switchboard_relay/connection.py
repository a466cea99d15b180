"""One TCP connection to one upstream, and the answer that is read from it. One exchange at a time."""

import asyncio
import fcntl
import select
import socket
import struct
import sys
from collections.abc import AsyncIterator
from time import monotonic
from typing import Protocol, Self, cast

from .errors import AnswerBroken, AnswerInvalid, AnswerMissing, RelayError
from .wire import LAST_CHUNK, AnswerReader, Headers, Request, chunk

HIGH_WATER_BYTES = 64 * 1024
"""So much of an answer is held for a slow client before its upstream is held back."""

VANISHED_SECONDS = 30
"""A machine that went without a word (a closed lid sends no FIN) is noticed after this time."""

_SOCKET_OPTIONS = (
    ("SO_KEEPALIVE", socket.SOL_SOCKET, 1),
    ("TCP_NODELAY", socket.IPPROTO_TCP, 1),
    ("TCP_KEEPIDLE", socket.IPPROTO_TCP, 10),
    ("TCP_KEEPINTVL", socket.IPPROTO_TCP, 5),
    ("TCP_KEEPCNT", socket.IPPROTO_TCP, 4),
    ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, VANISHED_SECONDS * 1000),
)
_RESET = struct.pack("ii", 1, 0)
_SIOCOUTQNSD = 0x894B  # linux/sockios.h


def _unsent_bytes(sock: socket.socket) -> int:
    """What the kernel was given and cannot send yet, for the other side does not take it."""
    return int.from_bytes(fcntl.ioctl(sock, _SIOCOUTQNSD, bytes(4)), sys.byteorder)


class Listener(Protocol):
    """Who wants to be called instead of waiting in `arrival`."""

    def arrived(self) -> None:
        """More of the answer is there, or `error` says that no more will come."""

    def room(self) -> None:
        """What was written has left; there is room for more of the request."""


class Connection(asyncio.Protocol):
    """The socket side of an exchange: writes the request, feeds the reader, wakes who waits or calls who listens."""

    def __init__(self) -> None:
        self.reader = AnswerReader()
        self.idle_since = 0.0
        self.listener: Listener | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._error: RelayError | None = None
        self._cause: Exception | None = None
        self._is_busy = self._is_reading_paused = False
        self._is_open = True
        self._arrival: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    # What the exchange calls.

    @property
    def is_idle_and_silent(self) -> bool:
        """Whether it can take a request: open, and the upstream has neither sent nor closed anything meanwhile."""
        return self._is_open and not self._transport.is_closing() and not self._poll.poll(0)

    def begin(self, request: Request) -> None:
        """Send the head, and the body where it is at hand.

        Raises:
            ValueError: the request cannot be written as HTTP; nothing was sent.
        """
        head = request.head()
        self.reader.expect(request.method)
        self._is_busy = True
        self._transport.write(head + request.body if isinstance(request.body, bytes) else head)

    def say(self, head: bytes, *, method: bytes, may_switch: bool = False) -> None:
        """Send a head, and what of the body is behind it, for who listens."""
        self.reader.expect(method, may_switch=may_switch)
        self._is_busy = True
        self._transport.write(head)

    def write(self, data: bytes) -> None:
        """Send more of a body."""
        self._transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the upstream takes a body more slowly than it comes."""
        return self._drained is not None

    @property
    def error(self) -> RelayError | None:
        """Why no more of the answer will come."""
        return self._error

    def hand_over(self) -> asyncio.Transport:
        """The transport, for a protocol of its own: this connection is done with it."""
        self.listener = None
        self._is_open = self._is_busy = False
        return self._transport

    def hold_back(self) -> None:
        """Read no more of the answer until `taken`."""
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    async def send(self, pieces: AsyncIterator[bytes], *, is_chunked: bool) -> bool:
        """Send a body that is still arriving, no faster than the upstream takes it.

        Returns:
            Whether all of it was sent: an answer that is complete already ends the sending.
        """
        async for piece in pieces:
            if not self._is_open or self.reader.is_complete:
                return False
            if piece:
                self._transport.write(chunk(piece) if is_chunked else piece)
            if self._drained is not None:
                await self._drained
        if is_chunked and self._is_open:
            self._transport.write(LAST_CHUNK)
        return self._is_open

    async def arrival(self) -> None:
        """Wait until more of the answer is there.

        Raises:
            RelayError: no more of it will come.
        """
        if self._error is not None:
            raise self._error from self._cause
        self._arrival = self._loop.create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None
        if self._error is not None and not self.reader.pieces:
            raise self._error from self._cause

    def taken(self) -> None:
        """The client took what was buffered."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def rest(self) -> None:
        """The exchange is over and the connection waits for the next one."""
        self._is_busy = False
        self.idle_since = monotonic()
        self.taken()

    def close(self) -> None:
        """Close at once; what was not sent yet is dropped."""
        self._is_open = False
        if not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            if _unsent_bytes(sock):
                # Else the kernel would keep what the upstream does not take, and our end behind it, for as long.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def fail(self, error: Exception) -> None:
        """End the exchange with this error, told as seen from the answer's progress, and close."""
        if self._error is None and not self.reader.is_complete:
            self._error, self._cause = self._as_seen(error), error
            self._error.__cause__ = error
        self.close()
        self._wake()

    def _as_seen(self, error: Exception) -> RelayError:
        words = str(error) or type(error).__name__
        if self.reader.is_head_complete:
            return AnswerBroken(f"the answer broke off: {words}")
        return error if isinstance(error, AnswerInvalid) else AnswerMissing(f"no answer came: {words}")

    def _wake(self) -> None:
        if self.listener is not None:
            self.listener.arrived()
        elif self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        for name, level, value in _SOCKET_OPTIONS:
            if hasattr(socket, name):
                sock.setsockopt(level, getattr(socket, name), value)
        self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            self.close()
            return
        try:
            self.reader.feed(data)
        except AnswerInvalid as error:
            self.fail(error)
            return
        if self.reader.buffered_bytes > HIGH_WATER_BYTES:
            self.hold_back()
        self._wake()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)
        self.resume_writing()

    def _end(self, error: Exception | None) -> None:
        self._is_open = False
        # What we closed ourselves after a failure is no end that the upstream gave to its answer.
        if self._is_busy and self._error is None and (error is not None or not self.reader.end()):
            self.fail(error or ConnectionError("the upstream closed the connection"))
        self._wake()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None:
            if not self._drained.done():  # cancelled with the sending that waited for it
                self._drained.set_result(None)
            self._drained = None
            if self.listener is not None:
                self.listener.room()


class Answer:
    """One answer while it arrives: `status`, `headers`, then the body by `async for piece in answer`."""

    __slots__ = ("_connection", "_reader", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reader = connection.reader
        self.status: int = self._reader.status
        self.headers: Headers = self._reader.headers

    @property
    def is_complete(self) -> bool:
        """Whether everything has arrived and been taken."""
        return self._reader.is_complete and not self._reader.pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of the body, as soon as there are any.

        Raises:
            AnswerBroken: the upstream broke off before the end.
        """
        while not self._reader.pieces:
            if self._reader.is_complete:
                raise StopAsyncIteration
            await self._connection.arrival()
        piece = self._reader.take()
        self._connection.taken()
        return piece

    async def read(self, limit: int | None = None) -> bytes:
        """The whole body that is still to come; of one that is longer than `limit` bytes, that much and a piece."""
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            pieces.append(piece)
            size += len(piece)
            if limit is not None and size > limit:
                break
        return b"".join(pieces)
