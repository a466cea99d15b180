from typing import TYPE_CHECKING, Any, cast

from coordinator.told import ToldTurn
from switchboard_coordinator.address import Address
from switchboard_coordinator.turns.runs_lane import RunsLane

if TYPE_CHECKING:
    from switchboard_coordinator.peers.peer import Peer
    from switchboard_coordinator.turns.live import LiveTurn

ADDRESS = Address("default", "nas")
RUNNING = {"status": "running"}
WAITING = {"status": "waiting_for_approval"}
DONE = {"status": "completed", "output": "one two", "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}


class Machine:
    """Tells a run's status, one after the other; of its events nothing comes, for another reader had them."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.asked: list[tuple[bytes, str]] = []
        self._statuses = iter(statuses)

    async def call(self, method: bytes, _: str, path: str, **__: object) -> dict[str, Any]:
        self.asked.append((method, path))
        return next(self._statuses) if method == b"GET" else {}

    def events(self, *_: object, **__: object) -> None:
        raise AssertionError("a second reader of a run's events may wait for ever")


class WrittenTurn(ToldTurn):
    """Everything that it is told is written at once."""

    async def written(self) -> bool:
        return True


async def test_a_run_is_taken_up_from_its_status_alone() -> None:
    turn, machine = _left_open("one"), Machine(RUNNING, DONE)

    end = await _taken_up(turn, machine).resume(ADDRESS)

    assert turn.turn.lanes[0].text == "one two"
    assert end.usage == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    assert {path for _, path in machine.asked} == {"/v1/runs/run_1"}


async def test_an_approval_that_nobody_was_asked_for_is_asked_when_a_run_is_taken_up() -> None:
    turn, machine = _left_open(), Machine(WAITING, WAITING, DONE)

    await _taken_up(turn, machine).resume(ADDRESS)

    assert [event.data["choices"] for event in turn.events if event.name == "lane.approval"] == [
        ["once", "session", "always", "deny"]
    ]


async def test_approvals_of_one_turn_have_names_of_their_own_whichever_process_asked() -> None:
    turn = _left_open()
    await _taken_up(turn, Machine(WAITING, {"status": "cancelled"})).resume(ADDRESS)
    (first,) = turn.turn.lanes[0].approvals
    turn.note("lane.approved", 0, approval=first, choice="once", by="me")

    await _taken_up(turn, Machine(WAITING, {"status": "cancelled"})).resume(ADDRESS)

    (second,) = turn.turn.lanes[0].approvals
    assert second != first


def _left_open(text: str = "") -> WrittenTurn:
    """A turn whose run was on record when its coordinator ended."""
    turn = WrittenTurn("", ["nas"], transports=["runs"])
    turn.send()
    turn.note("lane.run", 0, run_id="run_1")
    if text:
        turn.say(0, text)
    return turn


def _taken_up(turn: WrittenTurn, machine: Machine) -> RunsLane:
    return RunsLane(cast("LiveTurn", turn), 0, {"nas": cast("Peer", machine)}, None, (), can_approve=True)
