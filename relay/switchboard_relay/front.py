"""The server's side: one connection of a client, and everything that listens.

Callbacks all the way, no task a connection: what a perimeter does most must cost least.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import cast

from .call import CONTINUE, Call, Handler, status_line
from .requests import RequestReader, RequestRefused
from .tunnel import Tunnel
from .wire import Header, head

HIGH_WATER_BYTES = 64 * 1024
"""So much of an answer waits for a slow client before its upstream is held back."""
EARLY_BYTES = 64 * 1024
"""So much is read of requests that came before their turn."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before it is cut: closed at once, it would lose the answer."""
LOOK_SECONDS = 0.02
"""How often connections that nobody reads from are asked whether they are still there."""
SWEEP_SECONDS = 0.5
END_SECONDS = 5.0


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


class Front(asyncio.Protocol):
    """One connection: reads requests, one call at a time, and writes the answers."""

    __slots__ = (
        "_ends_after_answer",
        "_is_advancing",
        "_is_held",
        "_is_lingering",
        "_loop",
        "_server",
        "_transport",
        "address",
        "call",
        "deadline",
        "is_full",
        "reader",
    )

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport
        self.reader = RequestReader()
        self.call: Call | None = None
        self.deadline = inf
        self.address = ("", 0)
        self.is_full = False
        self._is_advancing = self._is_held = self._is_lingering = False
        self._ends_after_answer = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        name = transport.get_extra_info("peername")
        self.address = (name[0], name[1]) if name else ("", 0)
        self.deadline = self._loop.time() + self._server.limits.idle_seconds
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        reader, call = self.reader, self.call
        is_early = reader.is_complete
        try:
            reader.feed(data)
            if call is None:
                self._advance()
            elif is_early:
                if reader.waiting_bytes > EARLY_BYTES:
                    self.hold_back()
            else:
                self._go_on(call, len(data))
        except RequestRefused as refused:
            self._refuse(refused)

    def eof_received(self) -> None:
        self._leave("client_left")

    def connection_lost(self, error: Exception | None) -> None:
        self._leave("client_left")
        self._server.parted(self)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self.call is not None and self.call.listener is not None:
            self.call.listener.room()

    def _go_on(self, call: Call, size: int) -> None:
        """More of a request's body arrived."""
        if self.reader.is_complete:
            self.deadline = inf
        elif not self._is_held:
            limits = self._server.limits
            earned = self.deadline + size / limits.body_bytes_per_second
            self.deadline = min(earned, self._loop.time() + limits.body_seconds)
        if call.listener is not None:
            call.listener.body_arrived()

    # What a call asks for.

    @property
    def is_staying(self) -> bool:
        """Whether another request may follow on this connection."""
        return (
            self.reader.is_complete
            and self.reader.is_keep_alive
            and self.reader.upgrade is None
            and not self._ends_after_answer
            and not self._server.is_draining
        )

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    def hold_back(self) -> None:
        """Read nothing more for now; that the client goes is noticed all the same."""
        if not self._is_held and not self._transport.is_closing():
            self._is_held = True
            self.deadline = inf
            self._transport.pause_reading()
            self._server.held(self)

    def read_on(self) -> None:
        """Read the body, or go on reading it."""
        if self.reader.waits_for_continue:
            self.reader.waits_for_continue = False
            self._transport.write(CONTINUE)
        self._unhold()

    def _unhold(self) -> None:
        if self._is_held and self.reader.waiting_bytes <= EARLY_BYTES:
            self._is_held = False
            self._server.unheld(self)
            if not self.reader.is_complete:
                self.deadline = self._loop.time() + self._server.limits.body_seconds
            self._transport.resume_reading()

    def finish(self) -> None:
        """The answer is whole: the next request, or the end."""
        is_staying = self.is_staying
        self._end_call()
        if not is_staying:
            self._close()
            return
        self.reader.following()
        self.deadline = self._loop.time() + self._server.limits.idle_seconds
        if self.reader.waiting_bytes or self._is_held:
            try:
                self.reader.read()
            except RequestRefused as refused:
                self._refuse(refused)
                return
            self._unhold()
            self._advance()

    def break_off(self) -> None:
        """End the connection behind half an answer."""
        self._end_call()
        self.deadline = self._loop.time() + END_SECONDS
        self._transport.close()

    def switch(self, headers: Iterable[Header], upstream: asyncio.Transport, from_upstream: bytes) -> None:
        """Answer 101; from now on bytes pass both ways as they come."""
        call = self.call
        assert call is not None  # noqa: S101 - it is the call that asks for this
        call.listener = None
        self.deadline = inf
        if self._is_held:
            self._is_held = False
            self._server.unheld(self)
            self._transport.resume_reading()
        self._transport.write(head(status_line(101), headers))

        self._server.handler.switched(call)

        def received(size: int) -> None:
            call.received_bytes += size

        def sent(size: int) -> None:
            call.body_bytes += size

        Tunnel.join(
            self._transport,
            upstream,
            from_client=self.reader.remainder(),
            from_upstream=from_upstream,
            received=received,
            sent=sent,
            ended=self._tunnel_ended,
        )

    def _tunnel_ended(self) -> None:
        self._end_call()
        self._server.parted(self)

    def end_after_answer(self) -> None:
        """No request follows on this connection: the client was told so."""
        self._ends_after_answer = True

    def fault(self, call: Call, error: BaseException) -> None:
        """Who answers failed in a way that it did not foresee: 500, or a broken answer."""
        self._loop.call_exception_handler({"message": "a call failed", "exception": error, "protocol": self})
        if call is not self.call:
            return
        call.abandon()
        if call.status:
            self.break_off()
            return
        self._ends_after_answer = True
        call.outcome = "failed"
        self._server.handler.refuse(call, RequestRefused(500, "internal_error", "a fault of ours; the log has it"))

    # Its own course.

    def _advance(self) -> None:
        """Call for what has arrived, one after the other: a loop, for calls may be answered on the spot."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self.call is None and self.reader.is_head_complete and not self._is_ending:
                self._call()
        finally:
            self._is_advancing = False
        if self.call is None and self.reader.is_begun and not self._is_ending:
            # Counted from the first byte of the head; what belongs to it never moves the limit.
            self.deadline = min(self.deadline, self._loop.time() + self._server.limits.head_seconds)

    def _call(self) -> None:
        reader = self.reader
        call = self.call = Call(self, reader.method, reader.target, reader.headers)
        self._server.calls += 1
        if reader.is_complete:
            self.deadline = inf
        else:
            self.deadline = self._loop.time() + self._server.limits.body_seconds
        if self._server.is_draining:
            self._answer_refusal(call, RequestRefused(503, "draining", "this service stops: ask again in a moment"))
            return
        try:
            self._server.handler.called(call)
        except RequestRefused as refused:
            self._answer_refusal(call, refused)
        except Exception as error:  # noqa: BLE001 - one call's fault must not end the others
            self.fault(call, error)

    @property
    def _is_ending(self) -> bool:
        return self._is_lingering or self._transport.is_closing()

    def _refuse(self, refused: RequestRefused) -> None:
        """What arrived is no request, or the body of the one under way turned out to be none."""
        call = self.call
        if call is None:
            call = self.call = Call(self, self.reader.method, self.reader.target, self.reader.headers)
            self._server.calls += 1
        self._answer_refusal(call, refused)

    def _answer_refusal(self, call: Call, refused: RequestRefused) -> None:
        call.abandon()
        call.outcome = refused.code
        self._ends_after_answer = True
        if call.status:
            self.break_off()
        else:
            self._server.handler.refuse(call, refused)

    def _leave(self, outcome: str) -> None:
        """The client has gone."""
        if self._is_held:
            self._is_held = False
            self._server.unheld(self)
        call = self.call
        if call is not None:
            call.outcome = outcome
            call.abandon()
            self._end_call()
        self._transport.abort()

    def _end_call(self) -> None:
        call, self.call = self.call, None
        if call is not None:
            call.listener = None
            call.is_over = True
            call.received_bytes += self.reader.body_bytes
            self._server.call_ended()
            self._server.handler.over(call)

    def _close(self) -> None:
        """Close behind a whole answer; behind a request that was not read to its end, in a way that leaves it time."""
        if self.reader.is_complete and not self.reader.waiting_bytes:
            self.deadline = inf
            self._transport.close()
            return
        self._is_lingering = True
        self.deadline = self._loop.time() + LINGER_SECONDS
        if self._is_held:
            self._is_held = False
            self._server.unheld(self)
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # What the server asks for.

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, nor the beginning of one."""
        return self.call is None and not self.reader.is_begun

    def expire(self) -> None:
        """The time for what the client was doing is over."""
        if self.call is not None and not self.reader.is_complete:
            self._refuse(RequestRefused(408, "request_timeout", "the request's body came too slowly"))
        elif self.call is None and self.reader.is_begun and not self._is_lingering:
            self._refuse(RequestRefused(408, "request_timeout", "the request's head came too slowly"))
        else:
            self._transport.abort()

    def cut(self) -> None:
        """End it now, whatever is under way."""
        call = self.call
        if call is not None:
            call.outcome = "cut_by_drain"
            call.abandon()
            self._end_call()
        self._transport.abort()

    def dismiss(self) -> None:
        """End it if it is idle."""
        if self.is_idle and not self._is_lingering:
            self._transport.close()

    def has_gone(self, event: int) -> None:
        """What the kernel tells of a connection that nobody reads from."""
        if event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
            self._leave("client_left")

    def fileno(self) -> int:
        """The socket's, for polling."""
        number: int = self._transport.get_extra_info("socket").fileno()
        return number


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
        self._listening[listener] = await self.loop.create_server(lambda: Front(self), sock=listener, backlog=2048)

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
