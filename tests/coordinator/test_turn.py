"""What a turn is: any event at any time, and what is held whatever comes."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from switchboard_coordinator.turn import NOBODY_ANSWERED, OVER, Event, EventRefused, Turn, folded, restored

LANE_EVENTS = (
    *("lane.queued", "lane.sent", "lane.sent", "lane.refused", "lane.run", "lane.text", "lane.tool", "lane.stopping"),
    *("lane.approval", "lane.approved", "lane.done", "lane.failed", "lane.cancelled", "lane.interrupted", "lane.new"),
)
TURN_EVENTS = ("turn.accepted", "turn.done", "turn.failed", "turn.cancelled", "turn.interrupted", "turn.running")
LANES = st.sampled_from((0, 0, 0, 0, 1, 1, 2, -1, 4))
TRANSPORTS = st.sampled_from(("chat", "runs"))
ENDS = ("lane.done", "lane.failed", "lane.cancelled", "lane.interrupted")


def accepted(transports: list[str], **more: Any) -> dict[str, Any]:
    """The data of `turn.accepted`."""
    lanes = [f"default@p{number}" for number in range(len(transports))]
    return {"to": "x", "mode": "", "policy": "cancel", "lanes": lanes, "transports": transports, **more}


def told(turn: Turn) -> tuple[Any, ...]:
    """Everything that a turn is."""
    lanes = [(lane.told(), lane.text, dict(lane.end)) for lane in turn.lanes]
    return turn.state, turn.last_id, dict(turn.accepted), dict(turn.end), lanes


class AnyTurn(RuleBasedStateMachine):
    """Offers it any event; what was taken must make sense."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turn()
        self.taken: list[Event] = []

    def offer(self, name: str, lane: int | None, data: dict[str, Any], event_id: int | None = None) -> bool:
        before = told(self.turn)
        event = Event(self.turn.last_id + 1 if event_id is None else event_id, name, 1.0, lane, data)
        try:
            self.turn.apply(event)
        except EventRefused:
            assert told(self.turn) == before, "an event that is refused changes nothing"
            return False
        self.taken.append(event)
        return True

    @initialize(
        transports=st.lists(TRANSPORTS, min_size=1, max_size=3), has_chair=st.booleans(), quorum=st.integers(0, 3)
    )
    def accept(self, transports: list[str], has_chair: bool, quorum: int) -> None:
        chair = len(transports) - 1 if has_chair and len(transports) > 1 else None
        assert not self.offer("lane.sent", 0, {"address": "default@p0"}), "nothing comes before it"
        assert self.offer("turn.accepted", None, accepted(transports, quorum=quorum or None, chair=chair))

    @rule(name=st.sampled_from(LANE_EVENTS), lane=LANES, number=st.integers(0, 1))
    def lane_event(self, name: str, lane: int, number: int) -> None:
        data: dict[str, Any] = {"text": "x", "address": f"default@q{number}", "run_id": f"run_{number}"}
        self.offer(name, lane, {**data, "approval": f"approval_{number}", "reason": "asked"})

    @rule(name=st.sampled_from(TURN_EVENTS))
    def turn_event(self, name: str) -> None:
        self.offer(name, None, accepted(["chat"]))

    @rule(id_=st.integers(-1, 50))
    def an_id_that_does_not_follow(self, id_: int) -> None:
        if id_ != self.turn.last_id + 1:
            assert not self.offer("lane.text", 0, {"text": "x"}, id_)

    @invariant()
    def ids_rise_by_one(self) -> None:
        assert [event.id for event in self.taken] == list(range(1, len(self.taken) + 1))

    @invariant()
    def a_lane_is_never_sent_twice_without_a_refusal_between(self) -> None:
        for lane in self.turn.lanes:
            mine = [event.name for event in self.taken if event.lane == lane.index]
            out = 0
            for name in mine:
                out += (name == "lane.sent") - (name == "lane.refused")
                assert out in (0, 1)
            assert lane.attempts == mine.count("lane.sent")
            assert mine.count("lane.run") <= 1
            assert mine.count("lane.stopping") == (lane.stopping is not None)
            assert "lane.stopping" not in mine or mine.index("lane.run") < mine.index("lane.stopping")
            if "lane.run" in mine:
                assert lane.transport == "runs"
                assert "lane.refused" not in mine[mine.index("lane.run") :], "a run that has an id did start"

    @invariant()
    def nothing_follows_an_end(self) -> None:
        for lane in self.turn.lanes:
            mine = [event.name for event in self.taken if event.lane == lane.index]
            assert not any(name in ENDS for name in mine[:-1])
            assert lane.is_over == (bool(mine) and mine[-1] in ENDS)
        ends = [event.name.removeprefix("turn.") in OVER for event in self.taken]
        assert not any(ends[:-1])
        assert self.turn.is_over == (bool(ends) and ends[-1])
        if self.turn.is_over:
            assert all(lane.is_over for lane in self.turn.lanes)

    @invariant()
    def what_is_said_and_asked_comes_from_a_lane_at_work(self) -> None:
        for lane in self.turn.lanes:
            texts = [
                event.data["text"] for event in self.taken if event.lane == lane.index and event.name == "lane.text"
            ]
            assert lane.text == "".join(texts)
            assert not (lane.is_over and lane.approvals), "nobody waits for an answer any more"

    def teardown(self) -> None:
        for lane in self.turn.lanes:
            if not lane.is_over:
                assert self.offer("lane.cancelled", lane.index, {"reason": "asked"}), "a lane can always be ended"
        if not self.turn.is_over:
            assert self.offer(f"turn.{self.turn.outcome()}", None, {}), "and then the turn"
        assert told(folded(self.taken)) == told(self.turn)
        again = [restored(event.id, event.stored()) for event in self.taken]
        assert again == self.taken


TestAnyTurn = AnyTurn.TestCase


def ended(states: list[str], **more: Any) -> Turn:
    """A turn whose lanes ended so."""
    turn = Turn()
    turn.apply(Event(1, "turn.accepted", 1.0, None, accepted(["chat"] * len(states), **more)))
    for lane, state in enumerate(states):
        state, _, reason = state.partition(":")
        turn.apply(Event(turn.last_id + 1, "lane.sent", 1.0, lane, {"address": "default@p"}))
        turn.apply(Event(turn.last_id + 1, f"lane.{state}", 1.0, lane, {"reason": reason} if reason else {}))
    return turn


@pytest.mark.parametrize(
    ("states", "more", "outcome"),
    [
        (["done"], {}, "done"),
        (["failed", "done", "cancelled"], {}, "done"),
        (["failed", "interrupted", "cancelled"], {}, "interrupted"),
        (["failed", "cancelled"], {}, "failed"),
        (["cancelled", "cancelled"], {}, "cancelled"),
        (["done", "failed", "failed"], {"quorum": 2}, "failed"),
        (["done", "interrupted", "done"], {"quorum": 2}, "done"),
        (["done", "cancelled", "cancelled"], {"quorum": 2}, "cancelled"),
        (["done", "done", "failed"], {"chair": 2}, "failed"),
        (["failed", "done", "done"], {"chair": 2}, "done"),
        (["failed", "failed", f"cancelled:{NOBODY_ANSWERED}"], {"chair": 2}, "failed"),
        (["failed", "done", "cancelled:asked"], {"chair": 2}, "cancelled"),
    ],
)
def test_a_turn_comes_to_what_its_lanes_add_up_to(states: list[str], more: dict[str, Any], outcome: str) -> None:
    turn = ended(states, **more)
    assert turn.outcome() == outcome
    for other in OVER - {outcome}:
        with pytest.raises(EventRefused, match="add up to"):
            turn.apply(Event(turn.last_id + 1, f"turn.{other}", 1.0, None, {}))
    turn.apply(Event(turn.last_id + 1, f"turn.{outcome}", 1.0, None, {}))
    with pytest.raises(EventRefused, match="after the turn was"):
        turn.apply(Event(turn.last_id + 1, "lane.text", 1.0, 0, {"text": "x"}))


def test_what_only_a_newer_version_noted_is_passed_over_when_a_turn_is_read_back() -> None:
    events = [
        Event(1, "turn.accepted", 1.0, None, accepted(["chat"])),
        Event(2, "lane.sent", 1.0, 0, {"address": "default@p0"}),
        Event(3, "lane.dreamed", 1.0, 0, {"of": "sheep"}),
        Event(4, "lane.done", 1.0, 0, {}),
    ]
    turn = folded(events)
    assert (turn.last_id, turn.lanes[0].state) == (4, "done")
    with pytest.raises(EventRefused, match="is no event of a lane"):
        folded(events[:2]).apply(events[2])
