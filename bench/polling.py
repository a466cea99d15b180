"""Sockets watched on one epoll, in one thread: what is readable is called, and what is due."""

import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable


class Polling:
    """What is still watched when it is closed is closed with it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[socket.socket, Callable[[], None]]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def close(self) -> None:
        """Close every socket that is watched, and stop watching."""
        for connection, _ in self._watched.values():
            connection.close()
        self._epoll.close()

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for something to be readable or due, and call it."""
        now = time.monotonic()
        if self._due:
            seconds = max(0.0, min(seconds, self._due[0][0] - now))
        for descriptor, _ in self._epoll.poll(seconds):
            if (watched := self._watched.get(descriptor)) is not None:
                watched[1]()
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def watch(self, connection: socket.socket, readable: Callable[[], None]) -> None:
        """Call `readable` whenever there is something to read. It may be called for nothing, so must not block."""
        self._watched[connection.fileno()] = connection, readable
        self._epoll.register(connection, select.EPOLLIN)

    def forget(self, connection: socket.socket) -> None:
        """Close it; what it would have had to say is not heard any more."""
        if connection.fileno() >= 0:
            self._watched.pop(connection.fileno(), None)
            connection.close()

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call it once, at this time of time.monotonic()."""
        heapq.heappush(self._due, (when, next(self._order), call))
