"""The two ends of one stream: its source behind the system, its reader before it. Raw sockets, watched by a Polling.

The source stands in the place of an agent or, for a coordinator, of the agent's proxy.
"""

import re
import socket
import time
from typing import TYPE_CHECKING

from bench.frames import Arrivals, Broken
from bench.load import BASIC_HEADER, BEARER_HEADER, MODEL, PATH, PROFILES, Door, request
from bench.polling import Polling

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    Begins = Callable[["Source", int], bytes | None]

READ_BYTES = 1 << 16
CONNECT_SECONDS = 5.0

_FLOW = re.compile(rb"flow (\d+)")
"""What is asked, so that a source knows the requests of its own flow through whatever carries them."""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TOLD_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
_ABOUT = {
    b"/-/profiles": PROFILES.encode(),
    b"/v1/models": b'{"data": [{"id": "%b"}]}' % MODEL.encode(),
    b"/health/detailed": b'{"status": "ok"}',
}
"""What a coordinator asks a proxy, and a proxy its agent, beside turns."""


class Source:
    """The upstream's end of one connection: takes requests, one after another, and sends what it is told.

    `begins` gives what a stream of a flow begins with, head included, and nothing where the flow is over: a system may
    still be busy with requests whose clients have left.
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

    def close(self) -> None:
        """Break the connection off, or end it where everything was sent."""
        self._polling.forget(self._connection)

    @property
    def is_open(self) -> bool:
        """Whether the system is still there, as far as was read."""
        return self._connection.fileno() >= 0

    def _read(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:  # the event was for a connection that had this number before
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._asked += data
        head, found, body = self._asked.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.partition(b":")[::2] for line in head.lower().split(b"\r\n")[1:])
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._asked = b""
        target = head.split(b" ", 2)[1]
        expected = BASIC_HEADER if target.startswith((b"/p/", b"/-/")) else BEARER_HEADER
        if fields.get(b"authorization", b"").strip() != expected.lower().encode():
            self.send(_REFUSAL)
        elif target in _ABOUT:
            self.send(_TOLD_HEAD % len(_ABOUT[target]) + _ABOUT[target])
        elif (beginning := self._begins(self, _flow_in(body))) is None:
            self.close()
        else:
            self.send(beginning)


def _flow_in(body: bytes) -> int:
    found = _FLOW.search(body)
    return int(found[1]) if found else 0


class Reader:
    """The client's end of one stream of a flow."""

    def __init__(self, polling: Polling, door: Door, flow: int, late_ns: "array[int]") -> None:
        self._polling = polling
        self.arrivals = Arrivals(late_ns)
        self.failure = ""
        self._head = b""
        self._is_body = False
        self.connection = asked(door, flow)
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


def asked(door: Door, flow: int) -> socket.socket:
    """A connection on which a stream of this flow was asked for; it does not block. Raises OSError."""
    connection = socket.create_connection(("127.0.0.1", door.port), timeout=CONNECT_SECONDS)
    body = request(door.model, text=f"flow {flow}", stream=True)
    fields = {"Host": f"127.0.0.1:{door.port}", "Authorization": door.authorization, **door.headers}
    framing = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **framing}.items())
    connection.sendall(f"POST {PATH} HTTP/1.1\r\n{head}\r\n{body}".encode())
    connection.setblocking(False)
    return connection
