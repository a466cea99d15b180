"""One call: a client's request as it arrives, and the answer to it. Belongs to a `Front`, which reads and writes."""

import asyncio
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from .requests import RequestRefused
from .wire import LAST_CHUNK, Header, Headers, chunk, head

if TYPE_CHECKING:
    from .front import Front

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    """The first line of an answer; of a status that nobody knows without words."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status


class Listener(Protocol):
    """Who answers a call is told what happens to it meanwhile."""

    def body_arrived(self) -> None:
        """More of the request's body is there, or its end."""

    def left(self) -> None:
        """The call is over without an answer of the listener's: release everything, and touch the call no more."""

    def room(self) -> None:
        """The client took what was held for it."""


class Call:
    """One request and its answer.

    `status` 0 means that no answer began. `outcome` says in a word how it ended, `record` is the handler's own.
    `address` is where the client's connection comes from; `length` the body's where it is told, and `is_chunked` where
    it comes without.
    """

    __slots__ = (
        "_front",
        "_head",
        "_is_chunking",
        "_task",
        "address",
        "body_bytes",
        "has_body",
        "headers",
        "is_chunked",
        "is_over",
        "length",
        "listener",
        "method",
        "outcome",
        "received_bytes",
        "record",
        "status",
        "target",
        "upgrade",
    )

    def __init__(self, front: "Front", method: bytes, target: bytes, headers: Sequence[Header]) -> None:
        self._front = front
        self.method = method
        self.target = target
        self.headers: Sequence[Header] = headers
        reader = front.reader
        self.address = front.address
        self.length = reader.length
        self.is_chunked = reader.is_chunked
        self.has_body = bool(self.length) or self.is_chunked
        self.upgrade = reader.upgrade
        self.listener: Listener | None = None
        self.outcome = "failed"
        self.record: Any = None
        self.status = self.received_bytes = self.body_bytes = 0
        self.is_over = False
        self._head = b""
        self._is_chunking = False
        self._task: asyncio.Task[None] | None = None

    # The request.

    @property
    def has_whole_body(self) -> bool:
        """Whether all of the request has arrived."""
        return self._front.reader.is_complete

    def take(self) -> bytes:
        """The body bytes that arrived since the last call."""
        return self._front.reader.take()

    @property
    def waiting_body_bytes(self) -> int:
        """How much of the body has arrived and was not taken."""
        return sum(map(len, self._front.reader.pieces))

    def put_back(self, body: bytes) -> None:
        """Let the whole body be taken again."""
        self._front.reader.pieces = [body]

    def hold_back(self) -> None:
        """Read no more of the body until `read_on`: whoever takes it is full."""
        self._front.hold_back()

    def read_on(self) -> None:
        """Read the body, or go on reading it. A client that waits for 100 Continue gets it."""
        self._front.read_on()

    # The answer.

    @property
    def is_full(self) -> bool:
        """Whether the client takes its answer more slowly than it comes."""
        return self._front.is_full

    def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Give the head of an answer; it leaves with the first `pass_on`.

        Without Content-Length among the headers the body goes out in chunks.
        """
        self.status = status
        crossing = [*headers]
        has_length = False
        for name, _ in crossing:
            if name == b"content-length":
                has_length = True
        self._is_chunking = not (has_length or self.method == b"HEAD" or status in (204, 304))
        if self._is_chunking:
            crossing.append((b"transfer-encoding", b"chunked"))
        if not self._front.is_staying:
            self._front.end_after_answer()
            crossing.append((b"connection", b"close"))
        self._head = head(status_line(status), crossing)

    def pass_on(self, piece: bytes, *, is_last: bool) -> None:
        """Send what came of the answer; the last piece ends it, and the call."""
        self.body_bytes += len(piece)
        if self._is_chunking:
            if piece:
                piece = chunk(piece)
            if is_last:
                piece += LAST_CHUNK
        if self._head:
            piece, self._head = self._head + piece, b""
        front = self._front
        if piece:
            front.write(piece)
        if is_last:
            front.finish()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.begin(status, (*headers, (b"content-length", b"%d" % len(body))))
        self.pass_on(b"" if self.method == b"HEAD" else body, is_last=True)

    def break_off(self) -> None:
        """End the connection, so that the client sees that its answer is not whole."""
        self._front.break_off()

    def switch(self, headers: Iterable[Header], upstream: asyncio.Transport, from_upstream: bytes) -> None:
        """Answer 101 and join the client's connection with the upstream's; the call ends when the client's does."""
        self.status = 101
        self.outcome = "done"
        self._front.switch(headers, upstream, from_upstream)

    # Waiting.

    def wait_for(self, work: "asyncio._CoroutineLike[None]") -> None:
        """Answer by a coroutine, which is cancelled when the client goes."""
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._waited)

    def _waited(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._front.fault(self, error)

    def abandon(self) -> None:
        """Release who answers: the call ends without it. For the front."""
        if self._task is not None:
            self._task.cancel()
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.left()


class Handler(Protocol):
    """Who answers the calls of all connections."""

    def called(self, call: Call) -> None:
        """A request's head is there: answer it, now or later. Whatever it raises breaks the call off."""

    def refuse(self, call: Call, refused: RequestRefused) -> None:
        """Answer in the name of the front."""

    def switched(self, call: Call) -> None:
        """The call has become a tunnel, and is over when that ends."""

    def over(self, call: Call) -> None:
        """The call has ended, however; told once."""
