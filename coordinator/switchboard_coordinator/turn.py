"""What a turn is and how it may go on: the events of its journal, and the state that they add up to. Pure.

    turn   accepted ─▶ (lanes) ─▶ done | failed | cancelled | interrupted
    lane   queued ─▶ sent ─▶ done | failed | cancelled | interrupted
              ▲        │
              └─refused┘       refused: it provably did not start, so it may be sent again

A lane is never sent twice without a refusal between: that is what "at most once" means here.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
Policy = Literal["cancel", "detach"]
Transport = Literal["chat", "runs"]

NOBODY_ANSWERED = "nobody_answered"
"""Why a council's chair is cancelled that has nothing to work with."""
OVER = frozenset(("done", "failed", "cancelled", "interrupted"))


class Event(NamedTuple):
    """One thing that happened; `lane` is None where it concerns the whole turn. `at` is in seconds since 1970."""

    id: int
    name: str
    at: float
    lane: int | None
    data: Mapping[str, Any]

    def stored(self) -> dict[str, Any]:
        """As the journal keeps it; the id follows from where it stands."""
        head: dict[str, Any] = {"event": self.name, "at": self.at}
        if self.lane is not None:
            head["lane"] = self.lane
        return {**head, **self.data}


def restored(event_id: int, stored: Mapping[str, Any]) -> Event:
    """The event that `Event.stored` told."""
    data = {name: value for name, value in stored.items() if name not in ("event", "at", "lane")}
    return Event(event_id, stored["event"], stored["at"], stored.get("lane"), data)


class EventRefused(ValueError):
    """A turn in its state cannot have this event: a fault of ours."""


class EventUnknown(EventRefused):
    """An event that this version has no name for."""


class Lane:
    """One address's part in a turn, as its events tell."""

    __slots__ = (
        *("_text", "address", "approvals", "attempts", "code", "end", "index", "run_id", "state", "stopping"),
        "transport",
    )

    def __init__(self, index: int, address: str, transport: Transport) -> None:
        self.index = index
        self.address = address
        """Where it was sent last, or will be sent first."""
        self.transport = transport
        self.state: State = "queued"
        self.attempts = 0
        self.run_id: str | None = None
        self.stopping: str | None = None
        """Why its run is being stopped on the peer, until that is told."""
        self.code: str | None = None
        self.approvals: dict[str, Mapping[str, Any]] = {}
        """The approvals that the agent waits for."""
        self.end: Mapping[str, Any] = {}
        """The data of the event that ended it."""
        self._text = io.StringIO()

    @property
    def text(self) -> str:
        """What it said so far."""
        return self._text.getvalue()

    @property
    def is_over(self) -> bool:
        """Whether its last event was had."""
        return self.state in OVER

    def say(self, text: str) -> None:
        """Add to its text."""
        self._text.write(text)

    def told(self) -> dict[str, Any]:
        """As surfaces show it, without its text."""
        return {
            "index": self.index,
            "address": self.address,
            "state": self.state,
            "transport": self.transport,
            "attempts": self.attempts,
            "run_id": self.run_id,
            "code": self.code,
            "message": self.end.get("message"),
            "finish_reason": self.end.get("finish_reason"),
            "duration_ms": self.end.get("duration_ms"),
            "usage": self.end.get("usage"),
            "approvals": [{"approval": name, **asked} for name, asked in self.approvals.items()],
        }


class Turn:
    """The state that a turn's events add up to."""

    __slots__ = ("accepted", "end", "lanes", "last_id", "state")

    def __init__(self) -> None:
        self.state: State = "queued"
        self.lanes: list[Lane] = []
        self.last_id = 0
        self.accepted: Mapping[str, Any] = {}
        self.end: Mapping[str, Any] = {}

    @property
    def is_over(self) -> bool:
        """Whether its last event was had."""
        return self.state in OVER

    def apply(self, event: Event) -> None:
        """Take one event.

        Raises:
            EventRefused: it cannot come now; nothing has changed.
        """
        if event.id != self.last_id + 1:
            raise EventRefused(f"event {event.id} cannot follow event {self.last_id}")
        if self.is_over:
            raise EventRefused(f"{event.name} after the turn was {self.state}")
        if event.name == "lane.text":  # the most frequent by far
            self._running(event).say(event.data["text"])
        elif event.lane is None:
            self._apply_to_turn(event)
        else:
            self._apply_to_lane(event)
        self.last_id = event.id

    def outcome(self) -> State:
        """What it comes to once all its lanes are over.

        A council is what its chair is; a quorum needs as many lanes as it asks for; else one that is done is enough.
        """
        chair = self.accepted.get("chair")
        if chair is not None and self.lanes[chair].end.get("reason") != NOBODY_ANSWERED:
            decisive: State = self.lanes[chair].state
            return decisive
        states = [lane.state for lane in self.lanes if lane.index != chair]
        if states.count("done") >= (self.accepted.get("quorum") or 1):
            return "done"
        order: tuple[State, ...] = ("interrupted", "failed", "cancelled")
        return next((state for state in order if state in states), "failed")

    def _apply_to_turn(self, event: Event) -> None:
        if event.name == "turn.accepted":
            if self.lanes:
                raise EventRefused("a turn is accepted once")
            self.accepted = event.data
            transports = event.data["transports"]
            self.lanes = [Lane(n, address, transports[n]) for n, address in enumerate(event.data["lanes"])]
            return
        state = event.name.removeprefix("turn.")
        if state not in OVER:
            raise EventUnknown(f"{event.name} is no event of a turn")
        if not self.lanes or not all(lane.state in OVER for lane in self.lanes):
            raise EventRefused(f"{event.name} while a lane goes on")
        if state != self.outcome():
            raise EventRefused(f"{event.name}, but its lanes add up to {self.outcome()}")
        self.state = state
        self.end = event.data

    def _apply_to_lane(self, event: Event) -> None:
        match event.name:
            case "lane.queued":
                self._in(event, "queued")
            case "lane.sent":
                lane = self._in(event, "queued")
                lane.state, self.state = "running", "running"
                lane.address = event.data["address"]
                lane.attempts += 1
            case "lane.refused":
                lane = self._running(event)
                if lane.run_id is not None:
                    raise EventRefused("a run that has an id was not refused")
                lane.state = "queued"
            case "lane.run":
                lane = self._running(event)
                if lane.run_id is not None or lane.transport != "runs":
                    raise EventRefused("a lane is one run, and on runs alone")
                lane.run_id = event.data["run_id"]
            case "lane.stopping":
                lane = self._running(event)
                if lane.run_id is None or lane.stopping is not None:
                    raise EventRefused("only a run is stopped, and once")
                lane.stopping = event.data["reason"]
            case "lane.tool":
                self._running(event)
            case "lane.approval":
                self._running(event).approvals[event.data["approval"]] = {
                    name: value for name, value in event.data.items() if name != "approval"
                }
            case "lane.approved":
                lane = self._running(event)
                if lane.approvals.pop(event.data["approval"], None) is None:
                    raise EventRefused("nobody waits for this approval")
            case "lane.done":
                self._end(self._running(event), event)
            case "lane.failed" | "lane.cancelled" | "lane.interrupted":
                self._end(self._in(event, "queued", "running"), event)
            case _:
                raise EventUnknown(f"{event.name} is no event of a lane")

    @staticmethod
    def _end(lane: Lane, event: Event) -> None:
        lane.state = event.name.removeprefix("lane.")  # type: ignore[assignment]  # one of OVER
        lane.code = event.data.get("code")
        lane.end = event.data
        lane.approvals = {}

    def _running(self, event: Event) -> Lane:
        return self._in(event, "running")

    def _in(self, event: Event, *states: State) -> Lane:
        if event.lane is None or not 0 <= event.lane < len(self.lanes):
            raise EventRefused(f"{event.name} for a lane that is not there")
        lane = self.lanes[event.lane]
        if lane.state not in states:
            raise EventRefused(f"{event.name} for a lane that is {lane.state}")
        return lane


def folded(events: Iterable[Event]) -> Turn:
    """The turn that these events, from the first on, add up to.

    What only a newer version knows, which was gone back from, is passed over (ADR 0011).
    """
    turn = Turn()
    for event in events:
        try:
            turn.apply(event)
        except EventUnknown:
            turn.last_id = event.id
    return turn
