"""The task of one turn: its lanes side by side, as its mode wants it, to the last event. Knows no surface."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from switchboard_coordinator.errors import JournalUnavailable
from switchboard_coordinator.groups.fanout import summed_usage
from switchboard_coordinator.groups.modes import Course
from switchboard_coordinator.turn import Event, Lane

from .lane import Conversation, LaneTask
from .live import LiveTurn
from .question import ChairsQuestion

if TYPE_CHECKING:
    from switchboard_coordinator.keys.asked import Asked

DEADLINE = "deadline"

_WHY = frozenset(("code", "message", "started", "status", "kind", "param", "retry_after", "reason"))


class TurnTask:
    """Runs one turn.

    Attributes:
        lanes: in the order of the turn's lanes.
        conversations: the same, for who wants to answer an approval.
    """

    def __init__(self, live: LiveTurn, course: Course | None) -> None:
        """`course` decides how a group's lanes go on; None where each goes its own way."""
        self.live = live
        self.lanes: list[LaneTask] = []
        self.conversations: list[Conversation] = []
        self.asked: Asked | None = None
        """The request that it came with, while this process lives."""
        self._course = course
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._group: asyncio.TaskGroup | None = None
        self._chairs: ChairsQuestion | None = None

    def add(self, lane: LaneTask, conversation: Conversation) -> None:
        """The next lane."""
        self.lanes.append(lane)
        self.conversations.append(conversation)

    def chaired(self, question: ChairsQuestion) -> None:
        """The last lane is the chair's: it begins when its question is known."""
        self._chairs = question

    def end_after(self, seconds: float) -> None:
        """Give it a deadline."""
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cancel, DEADLINE)

    def take_up(self, events: Iterable[Event]) -> None:
        """Come to where another process left it, once all lanes are added: `events` are those that it noted."""
        if self._course is not None:
            for event in events:
                self._decide(event)
            self.live.watcher = self._decide
        for index, lane in enumerate(self.live.turn.lanes):
            if lane.stopping is not None:
                self.cancel(lane.stopping, index)

    def start(self, ended: "Callable[[TurnTask], None]") -> None:
        """Begin; `ended` is called when nothing more will happen here."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: ended(self))

    def cancel(self, reason: str, lane: int | None = None) -> None:
        """Cancel one lane, or all."""
        for index, task in enumerate(self.lanes):
            if lane in (None, index):
                task.cancel(reason)

    @property
    def outlives_us(self) -> bool:
        """Whether everything of it that is not over goes on without this process, as a run that is on record."""
        return all(lane.is_over or lane.run_id is not None for lane in self.live.turn.lanes)

    async def close(self) -> None:
        """This process ends: break off, noting what is known."""
        assert self._task is not None  # noqa: S101 - started by whoever made it
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        live = self.live
        try:
            if len(self.lanes) == 1:
                await self.lanes[0].run()
            else:
                await self._run_lanes()
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            if all(lane.is_over for lane in live.turn.lanes):
                self._end()
        is_written = await live.written()
        live.end()
        while not is_written:  # until then it is found here alone
            is_written = await live.written()

    async def _run_lanes(self) -> None:
        chair = self.live.turn.accepted.get("chair")
        if self._course is not None:
            self.live.watcher = self._decide
        async with asyncio.TaskGroup() as self._group:
            for index, lane in enumerate(self.lanes):
                if index != chair:
                    self._group.create_task(lane.run())
        if chair is not None:
            await self.lanes[chair].run()  # does nothing unless it was cancelled before it was asked

    def _decide(self, event: Event) -> None:
        assert self._course is not None  # noqa: S101 - else nobody watches
        decision = self._course.feed(event)
        for lane in decision.cancel:
            self.lanes[lane].cancel(decision.reason)
        if decision.ask_chair is not None and self._chairs is not None and self._group is not None:
            self._chairs.text = decision.ask_chair
            self._group.create_task(self.lanes[-1].run())

    def _end(self) -> None:
        turn = self.live.turn
        state = turn.outcome()
        told: dict[str, Any] = {"usage": summed_usage([lane.end.get("usage") for lane in turn.lanes])}
        if state != "done":
            grave = ("cancelled",) if state == "cancelled" else ("failed", "interrupted")
            told |= why([(lane.address, lane.end) for lane in turn.lanes if lane.state in grave])
            told["started"] = max(map(_started, turn.lanes), key=("no", "unknown", "yes").index)
            if state != "cancelled" and any(lane.state == "done" for lane in turn.lanes) and turn.accepted["quorum"]:
                told["code"] = "quorum_missed"
        self.live.note(f"turn.{state}", None, **told)
        # Refused because nothing could be written down, it can be asked for again under the same key.
        self.live.close(state, keeps_key=told.get("code") != JournalUnavailable.code)


def _started(lane: Lane) -> str:
    """What is known of a lane's work when it is over."""
    if lane.state == "cancelled":
        return "unknown" if lane.attempts else "no"
    return "yes" if lane.state == "done" else str(lane.end.get("started", "no"))


def why(ends: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Why a turn was not done, from the ends of the lanes that are so: one's own words, or all of theirs."""
    if len(ends) == 1 or not ends:
        return {name: value for name, value in (ends[0][1] if ends else {}).items() if name in _WHY}
    words = "; ".join(f"{address}: {end.get('message') or end.get('reason')}" for address, end in ends)
    shared = _shared([end for _, end in ends])
    if all(end.get("code") is None for _, end in ends):
        return {**shared, "message": words}  # all were cancelled
    retry_after = next((end["retry_after"] for _, end in ends if end.get("retry_after")), None)
    return {
        "code": "every_lane_failed",
        "status": 502,
        **shared,
        "message": words,
        **({"retry_after": retry_after} if retry_after and shared else {}),
    }


def _shared(ends: Sequence[Any]) -> dict[str, Any]:
    """What these ends have in common, of what tells why."""
    first = ends[0]
    names = (name for name in ("code", "status", "reason") if first.get(name) is not None)
    return {name: first[name] for name in names if all(end.get(name) == first[name] for end in ends)}
