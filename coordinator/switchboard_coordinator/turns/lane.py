"""One lane of a turn: waits for a place, is sent, and sent again only where it provably did not start."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import (
    InternalError,
    JournalUnavailable,
    PeerBusy,
    PeerError,
    PeerFailed,
    PeerOutcomeUnknown,
    PeerRejected,
    PeerUnavailable,
    SwitchboardError,
)
from switchboard_coordinator.peers.admission import Admission, Waiting
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.peers.refusal import pause_seconds
from switchboard_coordinator.turn import Lane

from .live import LiveTurn

_log = structlog.get_logger("switchboard")

PATIENCE_SECONDS = 600.0
"""So long a lane goes on offering itself to a peer that is busy."""

POSITION_SECONDS = 0.5
"""Where it stands in a queue is told no more often than this."""


@dataclass(slots=True)
class LaneEnd:
    """How a conversation came to its end. `failure` is the peer's own text where its turn failed."""

    finish_reason: str = "stop"
    usage: dict[str, Any] | None = None
    failure: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


class Conversation(Protocol):
    """How a lane talks with a peer: over `chat` or over `runs`."""

    async def hold(self, address: Address, attempt: int) -> LaneEnd:
        """Send the question to this address, and note what comes, to the end.

        Raises:
            PeerError: `started` says whether it may have run.
        """
        ...

    async def resume(self, address: Address) -> LaneEnd:
        """Take up what another process of ours had sent to this address.

        Raises:
            PeerError: see `hold`.
        """
        ...

    async def stop(self) -> dict[str, Any]:
        """End it on the peer, after `hold` was cancelled; what is to be told of it."""
        ...


class LaneTask:
    """The task of one lane. It ends with the lane's last event noted, whatever happens."""

    def __init__(
        self,
        live: LiveTurn,
        index: int,
        candidates: Sequence[Address],
        conversation: Conversation,
        admission: Admission,
        peers: Mapping[str, Peer],
    ) -> None:
        self._live = live
        self._index = index
        self._candidates = candidates
        self._conversation = conversation
        self._admission = admission
        self._peers = peers
        self._told_at = 0.0
        self._reason: str | None = None
        self._task: asyncio.Task[Any] | None = None
        self._began = time.perf_counter()

    @property
    def _lane(self) -> Lane:
        return self._live.turn.lanes[self._index]

    @property
    def is_over(self) -> bool:
        """Whether its last event is noted."""
        return self._lane.is_over

    def cancel(self, reason: str) -> None:
        """End it; once is enough."""
        if self._reason is None and not self.is_over:
            self._reason = reason
            if self._lane.run_id is not None and self._lane.stopping is None:
                self._note(
                    "lane.stopping", reason=reason
                )  # should this process end first, the next one goes on with it
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> None:
        """Go through the lane's life. Raises CancelledError where nobody told a reason: the process ends."""
        if self.is_over:
            return
        self._task = asyncio.current_task()
        if self._reason is not None:
            stopped = await self._conversation.stop() if self._lane.state == "running" else {}
            self._note("lane.cancelled", reason=self._reason, **stopped)
            return
        try:
            await self._go()
            if self._reason is not None:
                await asyncio.sleep(0)  # it ended in the moment that it was cancelled: take delivery here
        except asyncio.CancelledError:
            if self._reason is None or self._task is None:
                self._break_off()
                raise
            self._task.uncancel()
            if self.is_over:
                return
            stopped = await self._conversation.stop()
            if self._lane.state == "queued":
                stopped["started"] = "no"
            self._note("lane.cancelled", reason=self._reason, duration_ms=self._duration_ms(), **stopped)
        except SwitchboardError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - a lane ends with an event, whatever happens; the log has the fault
            _log.exception("lane_fault", turn=self._live.id, lane=self._index)
            if not self.is_over:
                self._fail(InternalError("something went wrong here; the log has it under this turn's id"))

    async def _go(self) -> None:
        lane = self._lane
        if lane.state == "running":
            with self._admission.resumed(self._candidates[0].peer):
                end = await self._conversation.resume(self._candidates[0])
            self._end(end)
            return
        left = list(self._candidates)
        attempt = 0
        while True:
            address = next((each for each in left if self._admission.free(each.peer)), left[0])
            attempt += 1
            try:
                if not self._admission.is_paused(address.peer):
                    self._peers[address.peer].check_there()
                has_choice = len(left) > 1
                async with self._admission.place(address.peer, self._live.consumer, self._waits, has_choice=has_choice):
                    end = await self._ask(address, attempt)
            except PeerError as error:
                is_sent = self._lane.state == "running"
                if error.started != "no" or isinstance(error, PeerRejected) or self._lane.run_id:
                    raise
                if not is_sent or not isinstance(error, PeerBusy):
                    left.remove(address)
                    if not left:
                        raise
                elif time.perf_counter() - self._began > PATIENCE_SECONDS:
                    raise
                if is_sent:
                    self._note("lane.refused", address=str(address), code=error.code, message=error.words)
                continue
            break
        self._end(end)

    async def _ask(self, address: Address, attempt: int) -> LaneEnd:
        live = self._live
        self._note("lane.sent", address=str(address), attempt=attempt)
        if not await live.written() and not live.was_written:
            raise JournalUnavailable("the turn could not be written down, so nobody was asked")
        try:
            return await self._conversation.hold(address, attempt)
        except PeerBusy as error:
            # To be said while the place is held, so that the limit is counted from the turns that run.
            self._admission.lower(address.peer, pause_seconds(error.retry_after))
            raise

    def _waits(self, waiting: Waiting) -> None:
        now = time.perf_counter()
        if now - self._told_at >= POSITION_SECONDS:
            self._told_at = now
            told = {"position": waiting.position, "expected_wait_seconds": waiting.expected_wait_seconds}
            self._note("lane.queued", **told)

    def _end(self, end: LaneEnd) -> None:
        told = {"usage": end.usage, "duration_ms": self._duration_ms(), "finish_reason": end.finish_reason, **end.more}
        if end.failure is None:
            self._note("lane.done", **told)
            return
        address = self._lane.address
        self._note("lane.failed", **PeerFailed(f"{address} failed: {end.failure}").told(), **told)

    def _fail(self, error: SwitchboardError) -> None:
        name = "lane.interrupted" if error.started == "unknown" else "lane.failed"
        self._note(name, duration_ms=self._duration_ms(), **error.told())

    def _break_off(self) -> None:
        """This process ends. A run goes on without it, and is taken up by the next one."""
        lane = self._lane
        if lane.is_over or lane.run_id is not None:
            return
        if lane.state == "queued":
            self._fail(PeerUnavailable("the coordinator was stopped before the turn was sent"))
        else:
            self._fail(PeerOutcomeUnknown(f"{lane.address} was at work when the coordinator was stopped"))

    def _duration_ms(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)

    def _note(self, name: str, **data: Any) -> None:
        self._live.note(name, self._index, **data)
