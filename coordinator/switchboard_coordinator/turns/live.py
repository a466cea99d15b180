"""A turn while it goes on: its events as they come, who reads them, what may be shown already. Knows no peer."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from switchboard_coordinator.turn import OVER, Event, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .journal import Journal
    from .sessions import Claim

_SHOWN_WHEN_QUEUED = frozenset(("lane.text", "lane.tool", "lane.queued"))


class LiveTurn:
    """One turn that this coordinator runs.

    What changes its life is shown when it is written, text when it is queued for writing. Events that are written
    leave this object one group later; who reads more slowly than that reads from the journal. Where that keeps no text
    they stay here.

    Attributes:
        turn: what its events add up to.
        over: done when its last event may be shown.
    """

    __slots__ = (
        "_committed",
        "_events",
        "_journal",
        "_waiting",
        "claim",
        "consumer",
        "id",
        "over",
        "readers",
        "restarts",
        "session",
        "turn",
        "visible",
        "watcher",
    )

    def __init__(self, turn_id: str, consumer: str, journal: "Journal", *, session: str | None = None) -> None:
        self.id = turn_id
        self.consumer = consumer
        self.session = session
        self.claim: Claim | None = None
        """What it holds of its session."""
        self.turn = Turn()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watcher: Callable[[Event], None] | None = None
        """Is told of every event at once: what decides how a group's turn goes on."""
        self.readers = 0
        self.restarts = 0
        self.visible = 0
        """The last event that may be shown."""
        self._committed = 0
        self._events: deque[Event] = deque()
        self._journal = journal
        self._waiting: list[asyncio.Future[None]] = []

    @classmethod
    def past(
        cls, turn_id: str, consumer: str, journal: "Journal", turn: Turn, restarts: int, *, session: str | None
    ) -> Self:
        """A turn that is over, as its journal tells it."""
        live = cls(turn_id, consumer, journal, session=session)
        live.resume(turn, restarts)
        live.end()
        return live

    def resume(self, turn: Turn, restarts: int) -> None:
        """Go on where another coordinator's process ended."""
        self.turn = turn
        self.restarts = restarts
        self.visible = self._committed = turn.last_id

    def note(self, name: str, lane: int | None = None, /, **data: Any) -> None:
        """Add an event: it is queued for writing.

        Raises:
            EventRefused: it cannot come now.
        """
        event = Event(self.turn.last_id + 1, name, time.time(), lane, data)
        self.turn.apply(event)
        self._events.append(event)
        self._journal.write(self, event)
        if self.watcher is not None:
            self.watcher(event)
        if name in _SHOWN_WHEN_QUEUED and self.visible == event.id - 1:
            self.visible = event.id
            self._wake()

    @property
    def was_left(self) -> bool:
        """Whether its first events are no longer here: only the journal can tell them."""
        return not self._events or self._events[0].id > 1

    @property
    def was_written(self) -> bool:
        """Whether the journal holds its beginning."""
        return self._committed > 0

    async def written(self) -> bool:
        """Wait until all events so far are written, or cannot be; then they may be shown."""
        last_id = self.turn.last_id
        is_written = await self._journal.commit(self)
        if not is_written:
            self._show_up_to(last_id)
        return is_written

    async def shown(self) -> None:
        """Wait until everything that happened so far may be shown."""
        while self.visible < self.turn.last_id:
            await self.written()

    def committed(self, last_id: int) -> None:
        """See `journal.Follower.committed`."""
        events = self._events
        if not self.turn.is_over and self._journal.keeps_text:
            while events and events[0].id <= self._committed:
                events.popleft()
        self._committed = last_id
        self._show_up_to(last_id)

    def _show_up_to(self, last_id: int) -> None:
        last_id = max(last_id, self.visible)
        for event in self._events:
            if event.id == last_id + 1 and event.name in _SHOWN_WHEN_QUEUED:
                last_id = event.id
        if last_id > self.visible:
            self.visible = last_id
            self._wake()

    def close(self, state: str, *, keeps_key: bool = True) -> None:
        """Queue its end for writing; its Idempotency-Key may be used anew where it does not keep it."""
        self._journal.close(self, state, time.time(), keeps_key=keeps_key)

    def end(self) -> None:
        """Its last event may be shown."""
        self._wake()
        if not self.over.done():
            self.over.set_result(None)

    def after(self, last_id: int) -> list[Event] | None:
        """The events behind `last_id` that may be shown; None where the journal has the first of them."""
        if last_id >= self.visible:
            return []
        events = self._events
        if not events or events[0].id > last_id + 1:
            return None
        return [event for event in events if last_id < event.id <= self.visible]

    async def changed(self, last_id: int) -> None:
        """Wait until there is more than `last_id` to show."""
        while self.visible <= last_id and not self.over.done():
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            finally:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.turn.state in OVER
