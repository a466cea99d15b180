"""Reads a request's body whole before anything is asked of an upstream, within bounds."""

from collections.abc import Callable

from .budget import Budget
from .call import Call
from .requests import RequestRefused


class WholeBody:
    """The body of one call while it is gathered.

    Args:
        call: whose body it is.
        limit: bytes that it may have.
        held: where the bytes of all bodies that are being gathered are counted.
        then: called when the body is whole and can be taken from the call.
    """

    __slots__ = ("_call", "_held", "_limit", "_pieces", "_size", "_then")

    def __init__(self, call: Call, limit: int, held: Budget, then: Callable[[Call], None]) -> None:
        self._call = call
        self._limit = limit
        self._held = held
        self._then = then
        self._pieces: list[bytes] = []
        self._size = 0

    def start(self) -> None:
        """Begin with what has arrived.

        Raises:
            RequestRefused: the body is too long, or too much is held already.
        """
        self._call.listener = self
        self.body_arrived()
        if not self._call.has_whole_body:
            self._call.read_on()

    def body_arrived(self) -> None:
        """Gather on.

        Raises:
            RequestRefused: the body is too long, or too much is held already.
        """
        call = self._call
        piece = call.take()
        if self._size + len(piece) > self._limit:
            raise RequestRefused(413, "body_too_large", f"the body has more than {self._limit} bytes")
        if not self._held.take(len(piece)):
            raise RequestRefused(503, "too_many_bodies", "too many request bodies are held here: ask again in a moment")
        self._size += len(piece)
        self._pieces.append(piece)
        if call.has_whole_body:
            self.left()
            call.listener = None
            call.put_back(b"".join(self._pieces))
            self._then(call)

    def left(self) -> None:
        """Give back what was held."""
        self._held.give(self._size)
        self._size = 0

    def room(self) -> None:
        """Nothing is being answered yet."""
