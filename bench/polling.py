"""Sockets watched on one epoll, in one thread: what is readable is called."""

import select
import socket
from collections.abc import Callable


class Polling:
    """What is still watched when it is closed is closed with it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[socket.socket, Callable[[], None]]] = {}

    def close(self) -> None:
        """Close every socket that is watched, and stop watching."""
        for connection, _ in self._watched.values():
            connection.close()
        self._epoll.close()

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for something to be readable, and call it."""
        for descriptor, _ in self._epoll.poll(seconds):
            if (watched := self._watched.get(descriptor)) is not None:
                watched[1]()

    def watch(self, connection: socket.socket, readable: Callable[[], None]) -> None:
        """Call `readable` whenever there is something to read. It may be called for nothing, so must not block."""
        self._watched[connection.fileno()] = connection, readable
        self._epoll.register(connection, select.EPOLLIN)

    def forget(self, connection: socket.socket) -> None:
        """Close it; what it would have had to say is not heard any more."""
        if connection.fileno() >= 0:
            self._watched.pop(connection.fileno(), None)
            connection.close()
