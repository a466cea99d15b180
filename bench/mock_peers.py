"""Many peers in one thread, and a client that asks all of them through a coordinator; on one clock.

Each peer is the proxy of a machine at a port of its own. What it says is the same text as in `frames.py`, so that every
piece tells its peer, its number and when it was sent. It ends each connection with its answer: turns of real users are
further apart than connections are kept.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from bench.ends import READ_BYTES, STREAM_HEAD, Source, asked
from bench.frames import END, ROLE, Broken, Unchunked, chunk, stamps
from bench.load import Door
from bench.polling import Polling

_DONE = b"data: [DONE]"
_HEAD = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@dataclass(frozen=True)
class Script:
    """How a peer answers: seconds to its first text, how many texts, seconds from one to the next."""

    first_seconds: float = 0.0
    texts: int = 3
    gap_seconds: float = 0.0


@dataclass
class Told:
    """What was seen of one turn, in ns of one clock; 0 where there was none."""

    asked_ns: int = 0
    frame_ns: int = 0
    """When the client had the first frame."""
    texts: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Of every text that the client had: its peer, its number, when it was sent, when it was there."""
    ended_ns: int = 0
    """When the client had the end mark."""
    first_sent_ns: int = 0
    """When a peer first sent text."""
    last_sent_ns: int = 0
    """When the last peer that came to its end sent it."""
    failure: str = ""


class MockPeers:
    """A context: within it `count` peers listen on loopback, and `turn` asks them through a coordinator."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> Self:
        self._polling = Polling()
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=256) for _ in range(self._count)]
        for number, listener in enumerate(self._listeners):
            listener.setblocking(False)
            self._polling.watch(listener, partial(self._accept, listener, number))
        self._flow, self._told = 0, Told()
        self._scripts: Sequence[Script] = ()
        return self

    def __exit__(self, *_: object) -> None:
        self._polling.close()

    @property
    def places(self) -> Mapping[str, tuple[str, int]]:
        """Their names, hosts and ports."""
        return {f"peer-{number}": one.getsockname() for number, one in enumerate(self._listeners)}

    def turn(self, door: Door, scripts: Sequence[Script], *, seconds: float) -> Told:
        """Ask once, peer n answering by script n; what has not ended after so long has failed."""
        self._flow += 1
        self._scripts, self._told = scripts, (told := Told())
        deadline = time.monotonic() + seconds
        told.asked_ns = time.monotonic_ns()
        try:
            connection = asked(door, self._flow)
        except OSError as problem:
            told.failure = f"no connection: {problem}"
            return told
        with connection:
            client = _Client(connection, told)
            self._polling.watch(connection, client.read)
            while not (told.ended_ns or told.failure):
                if (left := deadline - time.monotonic()) > 0:
                    self._polling.turn(left)
                else:
                    told.failure = f"the turn did not end in {seconds:g} s"
            self._polling.forget(connection)
        return told

    def _accept(self, listener: socket.socket, peer: int) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                Source(self._polling, connection, partial(self._begins, peer))

    def _begins(self, peer: int, source: Source, flow: int) -> bytes | None:
        if flow != self._flow:
            return None
        script, now = self._scripts[peer], time.monotonic()
        for text in range(script.texts):
            due = now + script.first_seconds + text * script.gap_seconds
            self._polling.call_at(due, partial(self._say, source, peer, text, flow))
        end = now + script.first_seconds + script.texts * script.gap_seconds
        self._polling.call_at(end, partial(self._end, source, flow))
        return _HEAD + b"%x\r\n%b\r\n" % (len(ROLE), ROLE)

    def _say(self, source: Source, peer: int, text: int, flow: int) -> None:
        if flow == self._flow and source.is_open:
            now_ns = time.monotonic_ns()
            self._told.first_sent_ns = self._told.first_sent_ns or now_ns
            source.send(chunk(peer, text, now_ns))

    def _end(self, source: Source, flow: int) -> None:
        if flow == self._flow and source.is_open:
            self._told.last_sent_ns = time.monotonic_ns()
            source.send(END)
            source.close()


class _Client:
    """Reads one answer into a Told."""

    def __init__(self, connection: socket.socket, told: Told) -> None:
        self._connection, self._told = connection, told
        self._head, self._is_body = b"", False
        self._body, self._text = Unchunked(), b""

    def read(self) -> None:
        """Take what is there."""
        try:
            data, now_ns = self._connection.recv(READ_BYTES), time.monotonic_ns()
            self._take(data, now_ns)
        except BlockingIOError:
            return
        except (OSError, Broken) as problem:
            self._told.failure = str(problem)

    def _take(self, data: bytes, now_ns: int) -> None:
        if not data:
            raise Broken("the answer broke off")
        if not self._is_body:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200 "):
                raise Broken(f"the answer is no stream: {head[:80]!r} {data[:200]!r}")
            self._is_body = True
        self._text += self._body.feed(data)
        *frames, self._text = self._text.split(b"\n\n")
        for frame in frames:
            self._told.frame_ns = self._told.frame_ns or now_ns
            self._told.texts += [(*stamp, now_ns) for stamp in stamps(frame)]
            if frame == _DONE:
                self._told.ended_ns = now_ns
