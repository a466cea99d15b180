"""Carries one call upstream and its answer back. Whoever leaves first releases the other.

The same promises as `Exchange`, driven by callbacks where that one is awaited: nothing of an answer is buffered beyond
what a slow client leaves, and no task is made for an exchange that finds a connection waiting.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import NamedTuple

from .budget import Budget
from .call import Call
from .connection import Connection
from .errors import AnswerInvalid, AnswerMissing, RelayError
from .pool import Pool
from .requests import RequestRefused
from .wire import LAST_CHUNK, SAFE_METHODS, Header, Headers, chunk

_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Way(NamedTuple):
    """How calls to one upstream are carried.

    Attributes:
        pool: the connections to it.
        answer: status and headers that the client gets, of those that the upstream gave.
        failed: answers a call that got no answer.
        body_limit: bytes that a request's body may have.
        again: given the status of an answer, the head to send instead, or None: for a credential that was renewed.
        held: where the bytes of bodies are counted that are kept for `again`.
        once: whether a call must not be repeated although its method is safe, for its answer is taken by who asks.
    """

    pool: Pool
    answer: Callable[[Call, int, Headers], tuple[int, Iterable[Header]]]
    failed: Callable[[Call, RelayError], None]
    body_limit: int
    again: Callable[[Call, int], bytes | None] | None = None
    held: Budget | None = None
    once: Callable[[Call], bool] | None = None


class Hop:
    """One call under way to its upstream."""

    __slots__ = (
        "_again",
        "_call",
        "_connecting",
        "_connection",
        "_head",
        "_is_begun",
        "_is_chunked",
        "_is_fresh",
        "_is_sent",
        "_kept",
        "_kept_bytes",
        "_size",
        "_way",
    )

    def __init__(self, call: Call, way: Way, head: bytes, *, is_chunked: bool = False) -> None:
        """Lay out one hop: `head` is the request's as it goes upstream, its body the call's, in chunks or as it is."""
        self._call = call
        self._way = way
        self._head = head
        self._is_chunked = is_chunked
        self._again = way.again
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_begun = self._is_sent = self._is_fresh = False
        self._kept: list[bytes] = []  # of the body: all that has arrived, as long as it may be sent again
        self._kept_bytes = self._size = 0

    def start(self) -> None:
        """Set out, with as much of the body as has arrived.

        Raises:
            RequestRefused: the body is longer than it may be.
        """
        self._call.listener = self
        if self._call.has_body:
            self._collect()
        self._ask()

    def _ask(self) -> None:
        """Send the request on a connection that waits, or on a new one."""
        call = self._call
        if call.upgrade is None and not self._is_fresh:
            connection = self._way.pool.take(is_safe=self._is_safe)
            if connection is not None:
                self._send(connection)
                return
        self._is_fresh = True
        if not call.has_whole_body:
            call.hold_back()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            connection = await self._way.pool.connect()
        except RelayError as error:
            self._connecting = None
            self._fail(error)
            return
        self._connecting = None
        self._send(connection)

    @property
    def _is_safe(self) -> bool:
        """Whether sending it twice does no more than sending it once (RFC 9110, 9.2.1)."""
        call, once = self._call, self._way.once
        return call.method in SAFE_METHODS and not call.has_body and (once is None or not once(call))

    def _send(self, connection: Connection) -> None:
        call = self._call
        self._connection = connection
        connection.listener = self
        body = b"".join(self._kept)
        if self._is_chunked and body:
            body = chunk(body)
        self._is_sent = call.has_whole_body
        if self._is_chunked and self._is_sent:
            body += LAST_CHUNK
        if self._again is None:
            self._forget()
        connection.say(self._head + body, method=call.method, may_switch=call.upgrade is not None)
        if not self._is_sent:
            call.read_on()

    # The request's body.

    def body_arrived(self) -> None:
        """Send on what came of the body, no faster than the upstream takes it.

        Raises:
            RequestRefused: it is longer than it may be.
        """
        if self._is_sent:
            return
        piece = self._collect()
        connection = self._connection
        if connection is None:
            return
        if piece:
            connection.write(chunk(piece) if self._is_chunked else piece)
        if self._call.has_whole_body:
            self._is_sent = True
            if self._is_chunked:
                connection.write(LAST_CHUNK)
        elif connection.is_full:
            self._call.hold_back()

    def _collect(self) -> bytes:
        piece = self._call.take()
        self._size += len(piece)
        if self._size > self._way.body_limit:
            raise RequestRefused(413, "body_too_large", f"the body has more than {self._way.body_limit} bytes")
        if self._again is not None and not self._hold(len(piece)):
            self._again = None
            if self._connection is not None:
                self._forget()
        if self._connection is None or self._again is not None:
            self._kept.append(piece)
        return piece

    def _hold(self, size: int) -> bool:
        if self._way.held is None or not self._way.held.take(size):
            return False
        self._kept_bytes += size
        return True

    def _forget(self) -> None:
        self._kept = []
        if self._kept_bytes and self._way.held is not None:
            self._way.held.give(self._kept_bytes)
            self._kept_bytes = 0

    def left(self) -> None:
        """The client is gone: so is the upstream, at once. That is what stops the work there."""
        self._forget()
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.listener = None
            connection.close()

    # The answer.

    def room(self) -> None:
        """One of the two sides takes more: of the body, or of the answer."""
        connection = self._connection
        if connection is None:
            return
        if not self._is_sent and not connection.is_full:
            self._call.read_on()
        if not self._call.is_full:
            connection.taken()

    def arrived(self) -> None:
        """Pass on what came of the answer."""
        connection = self._connection
        if connection is None:
            return
        reader = connection.reader
        if reader.is_switched:
            self._switch(connection)
            return
        if not self._is_begun and reader.is_head_complete and not self._begin(connection):
            return
        is_last = reader.is_complete
        if self._is_begun and (reader.pieces or is_last):
            piece = reader.take() if reader.pieces else b""
            if is_last:
                self._release(connection)
            self._call.pass_on(piece, is_last=is_last)
            if is_last:
                return
            if self._call.is_full:
                connection.hold_back()
            else:
                connection.taken()
        elif self._is_begun:
            self._call.pass_on(b"", is_last=False)  # the head of a stream that says nothing yet
        if connection.error is not None:
            self._broken(connection, connection.error)

    def _begin(self, connection: Connection) -> bool:
        """Give the client the head; False when the request is sent again instead."""
        reader = connection.reader
        if self._again is not None:
            head = self._again(self._call, reader.status) if self._is_sent else None
            self._again = None
            if head is not None:
                self._drop(connection)
                self._head = head
                self._is_fresh = True
                self._ask()
                return False
        self._forget()
        self._is_begun = True
        self._call.outcome = "done"
        self._call.begin(*self._way.answer(self._call, reader.status, reader.headers))
        return True

    def _release(self, connection: Connection) -> None:
        """The exchange is over: the connection waits for the next one, or ends."""
        self._connection = None
        connection.listener = None
        # Behind half a body the next request would be read as the other half.
        if self._is_sent and connection.reader.is_reusable:
            self._way.pool.give_back(connection)
        else:
            connection.close()

    def _drop(self, connection: Connection) -> None:
        self._connection = None
        connection.listener = None
        connection.close()

    def _broken(self, connection: Connection, error: RelayError) -> None:
        self._drop(connection)
        if isinstance(error, AnswerMissing) and self._is_safe and not self._is_fresh:
            self._is_fresh = True  # it had died while it waited; a safe request may be sent once more
            self._ask()
            return
        self._fail(error)

    def _fail(self, error: RelayError) -> None:
        self._forget()
        call = self._call
        if call.is_over:
            return
        if self._is_begun:
            call.outcome = "broken"
            call.break_off()
        else:
            call.listener = None
            self._way.failed(call, error)

    def _switch(self, connection: Connection) -> None:
        reader, call = connection.reader, self._call
        if not _agrees(call.headers, reader.headers):
            self._drop(connection)
            self._fail(AnswerInvalid("the upstream agreed to a WebSocket that nobody offered"))
            return
        self._is_begun = True
        self._connection = None
        upstream, from_upstream = connection.hand_over(), reader.take()
        headers = [
            *self._way.answer(call, 101, reader.headers)[1],
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
        ]
        call.switch(headers, upstream, from_upstream)


def _agrees(asked: Headers, answered: Headers) -> bool:
    """Whether an answer of 101 belongs to the handshake that was sent (RFC 6455, 4.2.2)."""
    keys = [value for name, value in asked if name == b"sec-websocket-key"]
    accepts = [value for name, value in answered if name.lower() == b"sec-websocket-accept"]
    upgrades = [value.lower() for name, value in answered if name.lower() == b"upgrade"]
    if len(keys) != 1 or len(accepts) != 1 or upgrades != [b"websocket"]:
        return False
    return accepts[0] == b64encode(sha1(keys[0] + _WEBSOCKET_GUID).digest())  # noqa: S324 - RFC 6455 says SHA-1
