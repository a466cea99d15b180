"""One connection of a client: its requests one after the other, and the answers.

Callbacks all the way, no task a connection: what a perimeter does most must cost least.
"""

import asyncio
import select
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, cast

from .call import CONTINUE, Call, status_line
from .requests import RequestReader, RequestRefused
from .tunnel import Tunnel
from .wire import Header, head

if TYPE_CHECKING:
    from .server import Server

HIGH_WATER_BYTES = 64 * 1024
"""So much of an answer waits for a slow client before its upstream is held back."""
EARLY_BYTES = 64 * 1024
"""So much is read of requests that came before their turn."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before it is cut: closed at once, it would lose the answer."""
END_SECONDS = 5.0


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
        if self.reader.waiting_bytes <= EARLY_BYTES and self._let_go():
            if not self.reader.is_complete:
                self.deadline = self._loop.time() + self._server.limits.body_seconds
            self._transport.resume_reading()

    def _let_go(self) -> bool:
        """Hold it back no more; whether it was until now."""
        was_held, self._is_held = self._is_held, False
        if was_held:
            self._server.unheld(self)
        return was_held

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
        if self._let_go():
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
        if isinstance(error, RequestRefused) and call is self.call:
            self._answer_refusal(call, error)
            return
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
        call = self._new_call()
        if self.reader.is_complete:
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

    def _new_call(self) -> Call:
        call = self.call = Call(self, self.reader.method, self.reader.target, self.reader.headers)
        self._server.calls += 1
        return call

    @property
    def _is_ending(self) -> bool:
        return self._is_lingering or self._transport.is_closing()

    def _refuse(self, refused: RequestRefused) -> None:
        """What arrived is no request, or the body of the one under way turned out to be none."""
        self._answer_refusal(self.call or self._new_call(), refused)

    def _answer_refusal(self, call: Call, refused: RequestRefused) -> None:
        call.abandon()
        call.outcome = refused.code
        self._ends_after_answer = True
        if call.status:
            self.break_off()
        else:
            self._server.handler.refuse(call, refused)

    def _leave(self, outcome: str) -> None:
        """It is over with the client, whatever is under way."""
        self._let_go()
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
        if self._let_go():
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
        self._leave("cut_by_drain")

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
