"""The requests and answers that crossed one connection, read from its bytes by h11. Pure.

What was asked counts as it came in: it left its sender. What was answered counts as it went out: no more arrived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
from doubles.faulty import Crossing


@dataclass(frozen=True)
class Exchange:
    """One request as far as it was sent, and its answer as far as it arrived."""

    at: float
    """When it came, in the event loop's time."""
    method: str
    path: str
    body: bytes
    status: int | None = None
    """None: no whole head arrived."""
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    is_answer_whole: bool = False


def exchanges(crossing: Crossing) -> Iterator[Exchange]:
    """All of them, in order."""
    rest = crossing.answered.crossed
    for offset, request, body in _requests(crossing.asked.came):
        method, path = request.method.decode(), request.target.decode()
        reading = h11.Connection(h11.CLIENT)
        reading.send(h11.Request(method=request.method, target=request.target, headers=[("host", "x")]))
        reading.send(h11.EndOfMessage())
        status, headers, pieces, is_whole = None, {}, [], False
        reading.receive_data(rest)
        if crossing.is_over:
            reading.receive_data(b"")
        for event in _events(reading):
            match event:
                case h11.Response():
                    status = event.status_code
                    headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                case h11.Data():
                    pieces.append(bytes(event.data))
                case h11.EndOfMessage():
                    is_whole = True
        yield Exchange(crossing.asked.came_at(offset), method, path, body, status, headers, b"".join(pieces), is_whole)
        rest = reading.trailing_data[0] if is_whole else b""


def _requests(stream: bytes) -> Iterator[tuple[int, h11.Request, bytes]]:
    """Where each request begins, and as much of its body as came."""
    data = stream
    while data:
        reading = h11.Connection(h11.SERVER)
        reading.receive_data(data)
        request, body, is_whole = None, b"", False
        for event in _events(reading):
            match event:
                case h11.Request():
                    request = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    is_whole = True
        if request is None:
            return
        yield len(stream) - len(data), request, body
        data = reading.trailing_data[0] if is_whole else b""


def _events(reading: h11.Connection) -> Iterator[h11.Event]:
    """Whatever can be read of one message."""
    try:
        while True:
            event = reading.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            assert isinstance(event, h11.Event)
            yield event
            if isinstance(event, h11.EndOfMessage):
                return
    except h11.RemoteProtocolError:
        return  # it broke off
