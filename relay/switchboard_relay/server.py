"""Everything that listens, and the connections that came of it: their limits, their number and their end."""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from .call import Handler
from .front import Front

LOOK_SECONDS = 0.02
"""How often connections that nobody reads from are asked whether they are still there."""
SWEEP_SECONDS = 0.5
END_SECONDS = 5.0
BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take its time for, in seconds, and how many may be there."""

    head_seconds: float = 10.0
    """From the first byte of a request's head to its last."""
    body_seconds: float = 30.0
    """A body may be so late behind `body_bytes_per_second`."""
    body_bytes_per_second: float = 1000.0
    idle_seconds: float = 75.0
    """Longer than clients keep an idle connection, so that none sends a request into one that is being closed."""
    connections: int = 8192
    """When one more comes, the one that was idle longest goes."""


class Server:
    """Accepts connections on any number of sockets; one handler answers them all."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.loop = asyncio.get_running_loop()
        self.calls = 0
        self.is_draining = False
        self._fronts: dict[Front, None] = {}
        self._held: dict[int, Front] = {}
        self._poll = select.poll()
        self._news = asyncio.Event()
        self._listening: dict[socket.socket, asyncio.Server] = {}
        self._sweeping = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        self._looking: asyncio.TimerHandle | None = None

    @property
    def held_back(self) -> int:
        """How many clients are not read from at the moment, for what they send is not taken."""
        return len(self._held)

    async def listen(self, listener: socket.socket) -> None:
        """Accept on one more socket, which is this server's from now on."""
        self._listening[listener] = await self.loop.create_server(lambda: Front(self), sock=listener, backlog=BACKLOG)

    async def stop_listening(self) -> None:
        """Accept nothing more, but for who is connected already and would be reset: they are told."""
        for listener, server in self._listening.items():
            with suppress(BlockingIOError):
                while True:
                    accepted, _ = listener.accept()
                    accepted.setblocking(False)
                    await self.loop.connect_accepted_socket(lambda: Front(self), accepted)
            server.close()
        self._listening.clear()

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, let calls end for so long, then cut them; returns when every connection is gone."""
        self.is_draining = True
        await self.stop_listening()
        for front in [*self._fronts]:
            front.dismiss()
        await self._until(lambda: not self.calls, seconds)
        for front in [front for front in self._fronts if front.call is not None]:
            front.cut()
        await self._until(lambda: not self._fronts, END_SECONDS)  # what is written to them is still on its way
        for front in [*self._fronts]:
            front.cut()
        self._sweeping.cancel()
        if self._looking is not None:
            self._looking.cancel()

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()

    # What the fronts tell.

    def joined(self, front: Front) -> None:
        """A connection came."""
        self._fronts[front] = None
        if len(self._fronts) > self.limits.connections:
            # The longest idle one goes; where none is, the newcomer.
            min((front for front in self._fronts if front.is_idle), key=lambda front: front.deadline).cut()

    def parted(self, front: Front) -> None:
        """A connection is gone."""
        self._fronts.pop(front, None)
        if self.is_draining:
            self._news.set()

    def call_ended(self) -> None:
        """A call is over."""
        self.calls -= 1
        if self.is_draining:
            self._news.set()

    def held(self, front: Front) -> None:
        """Nobody reads from this connection for now: look from time to time whether it is still there."""
        number = front.fileno()
        self._held[number] = front
        self._poll.register(number, select.POLLRDHUP)
        if self._looking is None:
            self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def unheld(self, front: Front) -> None:
        """It is read again, or gone."""
        for number in [number for number, held in self._held.items() if held is front]:
            del self._held[number]
            with suppress(KeyError, OSError):
                self._poll.unregister(number)

    def _look(self) -> None:
        self._looking = None
        for number, event in self._poll.poll(0):
            if (front := self._held.get(number)) is not None:
                front.has_gone(event)
        if self._held:
            self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def _sweep(self) -> None:
        now = self.loop.time()
        for front in [front for front in self._fronts if front.deadline <= now]:
            front.expire()
        self._sweeping = self.loop.call_later(SWEEP_SECONDS, self._sweep)
