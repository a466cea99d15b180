"""The two ends of one stream: its source behind the system, its reader before it. Raw sockets, watched by a Polling."""

import socket
import time
from typing import TYPE_CHECKING

from bench.frames import Arrivals, Broken, chunk
from bench.load import BEARER_HEADER, PATH, REQUEST
from bench.polling import Polling

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    Begins = Callable[["Source", int], int | None]

READ_BYTES = 1 << 16
CONNECT_SECONDS = 5.0

_FLOW = b"X-Bench-Flow"
_BODY = REQUEST.replace("}]}", '}], "stream": true}').encode()
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


class Source:
    """The upstream's end of one connection: takes requests, one after another, and sends what it is told.

    `begins` gives each stream of a flow its number, and none where the flow is over: a system may still be busy with
    requests whose clients have left.
    """

    def __init__(self, polling: Polling, connection: socket.socket, begins: "Begins") -> None:
        self._polling, self._connection, self._begins = polling, connection, begins
        self._asked = b""
        self._unsent = b""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        polling.watch(connection, self._read)

    def send(self, data: bytes) -> None:
        """Send it behind what was not taken before; what is not taken now waits for the next call."""
        data = self._unsent + data
        if not data:
            return
        try:
            sent = self._connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the system left; its readers tell
            sent = len(data)
        self._unsent = data[sent:]

    def _read(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:  # the event was for a connection that had this number before
            return
        except OSError:
            data = b""
        if not data:
            self._polling.forget(self._connection)
            return
        self._asked += data
        head, found, body = self._asked.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.partition(b":")[::2] for line in head.lower().split(b"\r\n")[1:])
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._asked = b""
        if fields.get(b"authorization", b"").strip() != BEARER_HEADER.lower().encode():
            self.send(_REFUSAL)
        elif (number := self._begins(self, int(fields.get(_FLOW.lower(), b"0")))) is None:
            self._polling.forget(self._connection)
        else:
            self.send(_STREAM_HEAD + chunk(number, 0, time.monotonic_ns()))


class Reader:
    """The client's end of one stream of a flow."""

    def __init__(self, polling: Polling, port: int, authorization: str, flow: int, late_ns: "array[int]") -> None:
        self._polling = polling
        self.arrivals = Arrivals(late_ns)
        self.failure = ""
        self._head = b""
        self._is_body = False
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {authorization}\r\n"
        framing = f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n"
        self.connection.sendall(head.encode() + framing.encode() + b"%b: %d\r\n\r\n" % (_FLOW, flow) + _BODY)
        self.connection.setblocking(False)
        polling.watch(self.connection, self._read)

    def _read(self) -> None:
        try:
            data = self.connection.recv(READ_BYTES)
            now_ns = time.monotonic_ns()
            self._take(data, now_ns)
        except BlockingIOError:  # the event was for a connection that had this number before
            return
        except (OSError, Broken) as problem:
            if not self.arrivals.is_ended:
                self.failure = str(problem)
            self._polling.forget(self.connection)

    def _take(self, data: bytes, now_ns: int) -> None:
        if not data:
            raise Broken("a stream broke off")
        if self._is_body:
            self.arrivals.feed(data, now_ns)
            return
        self._head += data
        head, found, body = self._head.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200 ") or b"transfer-encoding: chunked" not in head.lower():
            raise Broken(f"the answer is no stream: {head[:80]!r}")
        self._is_body = True
        self.arrivals.feed(body, now_ns)
