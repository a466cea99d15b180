"""Places for turns: each peer runs so many at once, the others wait in a fair queue. Knows no turn and no HTTP.

All state changes between two awaits of one event loop, so nothing is locked; whoever gives a place back hands it on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import ceil

from switchboard_coordinator.errors import PeerBusy

from .queueing import FairQueue

STEP_SECONDS = 5.0
"""A lowered limit rises by one each time this has passed without another refusal."""
LONGEST_PAUSE_SECONDS = 60.0
"""However long a peer that refused asks to be left alone."""
WEIGHT = 0.2
"""What the newest turn counts in the mean of their durations."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a turn stands in its peer's queue: 1 is next. The wait is None where nobody knows.

    That is until a turn has ended there, and while the peer is paused.
    """

    position: int
    expected_wait_seconds: float | None


def _unseen(_: Waiting) -> None:
    """Nobody is shown where this turn stands."""


class Admission:
    """Keeps the limit of every peer."""

    def __init__(
        self, limits: Mapping[str, int], *, longest_queue: int = 100, longest_wait_seconds: float = 600.0
    ) -> None:
        self._rooms = {peer: _Room(peer, limit) for peer, limit in limits.items()}
        self._longest_queue = longest_queue
        self._longest_wait_seconds = longest_wait_seconds

    @asynccontextmanager
    async def place(
        self, peer: str, consumer: str, told: Callable[[Waiting], None] = _unseen, *, has_choice: bool = False
    ) -> AsyncIterator[None]:
        """Hold one of this peer's places in this block; wait for it where none is free.

        `told` hears where it stands when it has to wait and whenever its position changed; in the task that waits.
        Who `has_choice` could go elsewhere, and does not wait while the peer is paused.

        Raises:
            PeerBusy: the queue is full, the wait was too long, or the peer is paused and there is a choice;
                `retry_after` says when to come again.
            KeyError: there is no such peer.
        """
        room = self._rooms[peer]
        if not room.enter():
            await self._wait(room, consumer, told, has_choice=has_choice)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            room.leave(loop.time() - began)

    async def _wait(self, room: "_Room", consumer: str, told: Callable[[Waiting], None], *, has_choice: bool) -> None:
        """Return with a place, or raise without one, however the wait ends."""
        if len(room.queue) >= self._longest_queue:
            raise room.busy(f"{len(room.queue)} turns wait there already")
        waiter = room.queue_up(consumer)
        end = asyncio.get_running_loop().call_later(self._longest_wait_seconds, waiter.expire)
        try:
            while not waiter.has_place and not waiter.is_late and not (has_choice and room.is_paused):
                told(room.waiting(waiter.position))
                await waiter.news()
        except BaseException:
            room.give_up(waiter)
            raise
        finally:
            end.cancel()
        if not waiter.has_place:
            room.give_up(waiter)
            waited = f"no place came free within {self._longest_wait_seconds:g} s"
            raise room.busy(waited if waiter.is_late else "others may take the turn")

    @contextmanager
    def resumed(self, peer: str) -> Iterator[None]:
        """Hold a place in this block for what runs there already, however many do.

        Raises:
            KeyError: there is no such peer.
        """
        room = self._rooms[peer]
        room.running += 1
        try:
            yield
        finally:
            room.vacate()

    def pause(self, peer: str) -> None:
        """Give out none of this peer's places any more; what runs goes on, and who comes waits.

        Raises:
            KeyError: there is no such peer.
        """
        self._rooms[peer].pause()

    def go_on(self, peer: str) -> None:
        """Give out places again, at once to those that wait.

        Raises:
            KeyError: there is no such peer.
        """
        self._rooms[peer].go_on()

    def is_paused(self, peer: str) -> bool:
        """Whether no place is given out until `go_on`."""
        return self._rooms[peer].is_paused

    def lower(self, peer: str, retry_after_seconds: float) -> None:
        """The peer refused a turn as one too many. To be said while that turn still holds its place.

        Nothing more goes there until the time that the peer asks for has passed; then one turn less than it runs now,
        at least one, and one more with each `STEP_SECONDS`.
        """
        self._rooms[peer].lower(min(max(retry_after_seconds, 0.0), LONGEST_PAUSE_SECONDS))

    def free(self, peer: str) -> int:
        """How many turns would start there at once."""
        return self._rooms[peer].free

    def running(self, peer: str) -> int:
        """How many places are taken."""
        return self._rooms[peer].running

    def waiting(self, peer: str) -> int:
        """How many turns wait."""
        return len(self._rooms[peer].queue)

    def limit(self, peer: str) -> int:
        """How many turns may run there now: what the operator allows, or less for a while."""
        return self._rooms[peer].limit


class _Waiter:
    """One turn that waits."""

    __slots__ = ("_news", "consumer", "has_place", "is_late", "position")

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer
        self.position = 0
        self.has_place = self.is_late = False
        self._news: asyncio.Future[None] | None = None

    async def news(self) -> None:
        """Wait for a place, for another position, or for the end of patience."""
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def tell(self) -> None:
        """There is news."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def expire(self) -> None:
        """It has waited long enough."""
        self.is_late = True
        self.tell()


class _Room:
    """The places of one peer."""

    def __init__(self, peer: str, limit: int) -> None:
        self.running = 0
        self.limit = self.places = limit
        """What may run now; `places` is 0 while a peer that refused is left alone, else it is the limit."""
        self.is_paused = False
        self.queue: FairQueue[_Waiter] = FairQueue()
        self._peer = peer
        self._allowed = limit
        self._mean_seconds: float | None = None
        self._rise: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        """How many may begin now."""
        return 0 if self.is_paused else max(0, self.places - self.running)

    def enter(self) -> bool:
        """Take a place if one is free; one is free only where nobody waits."""
        if self.free:
            self.running += 1
            return True
        return False

    def leave(self, seconds: float) -> None:
        """Give a place back that was held for so long."""
        mean = self._mean_seconds
        self._mean_seconds = seconds if mean is None else mean + WEIGHT * (seconds - mean)
        self.vacate()

    def queue_up(self, consumer: str) -> _Waiter:
        """Wait behind those who came before."""
        waiter = _Waiter(consumer)
        self.queue.add(consumer, waiter)
        self._move_up()
        return waiter

    def give_up(self, waiter: _Waiter) -> None:
        """Wait no longer; a place that came meanwhile goes to the next."""
        if waiter.has_place:
            self.vacate()
        else:
            self.queue.remove(waiter.consumer, waiter)
            self._move_up()

    def waiting(self, position: int) -> Waiting:
        """What somebody at this position may expect."""
        if self._mean_seconds is None or self.is_paused:
            return Waiting(position, None)
        must_end = max(1, position + self.running - self.limit)
        return Waiting(position, round(must_end * self._mean_seconds / self.limit, 1))

    def busy(self, why: str) -> PeerBusy:
        """The refusal. Its `retry_after` is when the queue of now should be gone."""
        state = "is being drained" if self.is_paused else f"runs {self.running} turns of ours, as many as it may"
        error = PeerBusy(f"{self._peer} {state}, and {why}")
        error.retry_after = str(max(1, ceil(self.waiting(len(self.queue)).expected_wait_seconds or 0)))
        return error

    def pause(self) -> None:
        """See `Admission.pause`. Everyone who waits hears of it: who has a choice goes elsewhere."""
        self.is_paused = True
        for waiter in self.queue:
            waiter.tell()

    def go_on(self) -> None:
        """See `Admission.go_on`."""
        self.is_paused = False
        self._move_up()

    def lower(self, pause_seconds: float) -> None:
        """See `Admission.lower`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + pause_seconds
        if self._rise is not None:
            if self.places == 0:
                until = max(until, self._rise.when())
            self._rise.cancel()
        self.limit = max(1, min(self.limit, self.running - 1))
        self.places = 0
        self._rise = loop.call_at(until, self._open, self.limit)

    def _open(self, limit: int) -> None:
        """Let so many run from now on, and one more after the next step."""
        self.limit = self.places = limit
        self._rise = None
        if limit < self._allowed:
            self._rise = asyncio.get_running_loop().call_later(STEP_SECONDS, self._open, limit + 1)
        self._move_up()

    def vacate(self) -> None:
        """Give a place back."""
        self.running -= 1
        if self.queue:
            self._move_up()

    def _move_up(self) -> None:
        """Hand out what is free, and tell everyone whose position changed."""
        while self.queue and self.enter():
            waiter = self.queue.take()
            waiter.has_place = True
            waiter.tell()
        for position, waiter in enumerate(self.queue, 1):
            if waiter.position != position:
                waiter.position = position
                waiter.tell()
