"""A server of the relay on loopback, whose calls a test's own function answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from doubles.serving import listening
from switchboard_relay import Call, Limits, RequestRefused, Server


class Answering:
    """A handler that keeps what it was told."""

    def __init__(self, answer: Callable[[Call], None], port: int) -> None:
        self.port = port
        self.server: Server
        self.called_for: list[Call] = []
        self.ended: list[Call] = []
        self._answer = answer

    def called(self, call: Call) -> None:
        """Let the test answer."""
        self.called_for.append(call)
        self._answer(call)

    def refuse(self, call: Call, refused: RequestRefused) -> None:
        """Say the code."""
        call.answer(refused.status, [], refused.code.encode())

    def switched(self, call: Call) -> None:
        """Nothing is to be done."""

    def over(self, call: Call) -> None:
        """Keep it."""
        self.ended.append(call)


@asynccontextmanager
async def answering(answer: Callable[[Call], None], limits: Limits | None = None) -> AsyncIterator[Answering]:
    """Serve in this block; what still runs at its end is cut."""
    listener = listening()
    handler = Answering(answer, listener.getsockname()[1])
    handler.server = Server(handler, limits)
    await handler.server.listen(listener)
    try:
        yield handler
    finally:
        await handler.server.drain(0)
