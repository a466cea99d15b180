"""Both ends of the streams: the source behind a system and the reader before it, raw sockets on one epoll, one thread.

One thread has one clock, and costs the core that both ends share no switching between them. It knows nothing of the
system in between: only where to ask, and what to show.
"""

import gc
import resource
import socket
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from bench.ends import STREAM_HEAD, Reader, Source
from bench.flows import Flow
from bench.frames import END, at_share, chunk
from bench.load import Door
from bench.polling import Polling

AT_ONCE = 64
"""How many streams are being opened, and how many frames sent between two looks at what arrived."""


class Generator:
    """A context: within it the source listens on `port` of loopback.

    What has not arrived `grace_seconds` after the last frame was sent, or the last stream began, is lost.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds

    def __enter__(self) -> Self:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.polling = Polling()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.sources: list[Source] = []
        self._flow = 0
        self.polling.watch(self._listener, self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.polling.close()

    @contextmanager
    def opened(self, door: Door, count: int) -> Iterator["Streams"]:
        """`count` streams through the system behind `door`, each with its first frame there; closed with the block.

        An opening that fails is the failure of the flow.
        """
        streams = Streams(self, door, count)
        gc.disable()  # a collection here would look like a stall of the system
        try:
            streams.open()
            yield streams
        finally:
            gc.enable()
            streams.close()

    def flow(self, door: Door, *, streams: int, rate: int, seconds: float) -> Flow:
        """Open `streams`, send `rate` frames a second on each for `seconds`, end them, say what arrived."""
        with self.opened(door, streams) as open_streams:
            open_streams.pour(rate, seconds)
            return open_streams.finish()

    def begin_flow(self) -> tuple[Polling, int]:
        """Forget the sources of the flow before; where the next is watched, and its number."""
        self.sources.clear()
        self._flow += 1
        return self.polling, self._flow

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                Source(self.polling, connection, self._begins)

    def _begins(self, source: Source, flow: int) -> bytes | None:
        if flow != self._flow:
            return None
        self.sources.append(source)
        return STREAM_HEAD + chunk(len(self.sources) - 1, 0, time.monotonic_ns())


class Streams:
    """A number of streams through one system, opened together."""

    def __init__(self, generator: Generator, door: Door, count: int) -> None:
        self._generator, self._door, self._count = generator, door, count
        self._late_ns = array("q")
        self._source_late_ns = array("q")
        self._readers: list[Reader] = []
        self._poured = (0, 0.0)
        self._problem = ""
        self._sent = 1
        """Frames a stream, with the one that opens it."""

    def open(self) -> None:
        """Ask for each and wait for its first frame, a few at a time."""
        polling, flow = self._generator.begin_flow()
        begun, deadline = 0, self._deadline()
        while begun < self._count and not self.failure():
            try:
                while len(self._readers) < min(self._count, begun + AT_ONCE):
                    self._readers.append(Reader(polling, self._door, flow, self._late_ns))
            except OSError as problem:
                self._problem = f"no connection: {problem}"
            polling.turn(0.1)
            before, begun = begun, sum(reader.arrivals.frames > 0 for reader in self._readers)
            if begun > before:
                deadline = self._deadline()
            elif time.monotonic() > deadline:
                self._problem = f"{self._count - begun} of {self._count} streams did not begin"
        if not self.failure() and len(self._generator.sources) != self._count:
            self._problem = f"{len(self._generator.sources)} requests came of {self._count}"
        del self._late_ns[:]  # opening is not what is measured

    def pour(self, rate: int, seconds: float) -> None:
        """Send frames, evenly spread over time and streams; returns when the last was sent."""
        sources = self._generator.sources
        if self.failure():
            return
        frames = round(rate * seconds)
        self._poured, clock, turn = (rate, seconds), time.monotonic_ns, self._generator.polling.turn
        streams, total, first = len(sources), len(sources) * frames, self._sent
        pace_ns = 1e9 / (rate * streams)
        start_ns, sent = clock(), 0
        while sent < total:
            elapsed_ns = clock() - start_ns
            due = min(total, int(elapsed_ns / pace_ns) + 1, sent + AT_ONCE)
            if sent < due:
                self._source_late_ns.append(int(elapsed_ns - sent * pace_ns))
            while sent < due:
                frame, stream = divmod(sent, streams)
                sources[stream].send(chunk(stream, first + frame, clock()))
                sent += 1
            turn(max(0.0, (start_ns + sent * pace_ns - clock()) / 1e9))
        self._sent += frames

    def wait(self) -> None:
        """Until every frame that was sent has arrived, the grace time at most."""
        self._until(lambda: self._arrived() >= self._sent * self._count)

    def finish(self) -> Flow:
        """End every stream, wait for what is on its way, and say what arrived."""
        for source in self._generator.sources:
            source.send(END)
        self._until(lambda: all(reader.arrivals.is_ended for reader in self._readers))
        expected, arrived = self._sent * self._count, self._arrived()
        unended = sum(not reader.arrivals.is_ended for reader in self._readers)
        lost = f"{expected - arrived:,} of {expected:,} frames did not arrive" if arrived < expected else ""
        rate, seconds = self._poured
        return Flow(
            streams=self._count,
            frames_per_second=rate,
            seconds=seconds,
            frames=arrived,
            p50_ms=at_share(self._late_ns, 0.5),
            p99_ms=at_share(self._late_ns, 0.99),
            worst_ms=at_share(self._late_ns, 1.0),
            source_p99_ms=at_share(self._source_late_ns, 0.99),
            failure=self.failure() or lost or (f"{unended} streams were not ended" if unended else ""),
        )

    def close(self) -> None:
        """Leave; the system has to notice by itself."""
        for reader in self._readers:
            self._generator.polling.forget(reader.connection)

    def failure(self) -> str:
        """What went wrong first, or nothing."""
        return self._problem or next((reader.failure for reader in self._readers if reader.failure), "")

    def _deadline(self) -> float:
        return time.monotonic() + self._generator.grace_seconds

    def _arrived(self) -> int:
        return sum(reader.arrivals.frames for reader in self._readers)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = self._deadline()
        while not condition() and not self.failure() and time.monotonic() < deadline:
            self._generator.polling.turn(0.02)
            for source in self._generator.sources:
                source.send(b"")
