"""Runs whose events are lost, and whose approvals nobody was told of: they are looked at, to their end."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from coordinator.stage import AGENT_KEY, Stage
from coordinator.told import ToldTurn
from doubles.raw_client import RawClient
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import PeerUnavailable
from switchboard_coordinator.turns import runs_lane
from switchboard_coordinator.turns.runs_lane import RunsLane
from waiting import until

if TYPE_CHECKING:
    from switchboard_coordinator.peers.peer import Peer
    from switchboard_coordinator.turns.live import LiveTurn

WAIT_SECONDS = 10.0
WAITING = {"status": "waiting_for_approval"}
DONE = {"status": "completed", "output": "done"}


async def test_a_run_whose_events_somebody_else_takes_is_told_from_its_status(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_lane, "SILENCE_SECONDS", 0.2)
    agent = await stage.machine("nas")
    await stage.start()

    def is_read() -> bool:
        return any(request.path.endswith("/events") for request in agent.requests)

    async with asyncio.TaskGroup() as asking:
        answer = asking.create_task(
            stage.ask("nas", "!!silence=0.5 hello there", headers={"x-switchboard-transport": "runs"})
        )
        await until(is_read, seconds=WAIT_SECONDS)
        async with RawClient(agent.api_port) as other:
            path = f"/v1/runs/{agent.turns[0].run_id}/events"
            other.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {AGENT_KEY}\r\n\r\n".encode())
            await other.head()

    assert answer.result().json()["choices"][0]["message"]["content"] == "[nas] echo: hello there"


class Machine:
    """A run that asks for an approval, on a peer that is not reached when it is first denied."""

    def __init__(self) -> None:
        self.denials = 0

    async def call(self, method: bytes, _: str, path: str, **__: object) -> dict[str, Any]:
        if method == b"GET":
            return DONE if self.denials == 2 else WAITING
        assert path.endswith("/approval")
        self.denials += 1
        if self.denials == 1:
            raise PeerUnavailable("nas takes no connection")
        return {}


class WrittenTurn(ToldTurn):
    """Everything that it is told is written at once."""

    async def written(self) -> bool:
        return True


async def test_a_denial_that_does_not_reach_the_agent_is_told_again() -> None:
    turn, machine = WrittenTurn("", ["nas"], transports=["runs"]), Machine()
    turn.send()
    turn.note("lane.run", 0, run_id="run_1")
    lane = RunsLane(cast("LiveTurn", turn), 0, {"nas": cast("Peer", machine)}, None, (), can_approve=False)

    await lane.resume(Address("default", "nas"))

    assert [event.name for event in turn.events if "appro" in event.name] == ["lane.approval", "lane.approved"]
    assert turn.turn.lanes[0].text == "done"
