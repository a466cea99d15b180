"""What was promised of a turn outlives the coordinator: its deadline, its mode, a cancel that was under way."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from coordinator.stage import AGENT_KEY
from doubles.faulty import Fault, Faulty
from switchboard_mock_agent.agent import MockAgent
from waiting import until

from crash.stage import CrashStage

DEADLINE_MS = 5000
FOR_EVER = "!!silence=600 hello"


async def has_run(stage: CrashStage, turn_id: str) -> bool:
    return (await stage.turn(turn_id))["lanes"][0]["run_id"] is not None


async def test_a_deadline_stops_a_run_of_a_process_before(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", FOR_EVER, deadline_ms=DEADLINE_MS)).json()["id"]
    await until(lambda: has_run(stage, turn_id), seconds=10)
    async with stage.crashed():
        assert [turn.state for turn in agent.turns] == ["running"]
    told = await stage.ended(turn_id)
    assert (told["state"], told["reason"]) == ("cancelled", "deadline")
    assert [turn.state for turn in agent.turns] == ["stopped"]


async def approvals(stage: CrashStage, turn_id: str) -> list[list[dict[str, Any]]]:
    return [lane["approvals"] for lane in (await stage.turn(turn_id))["lanes"]]


async def all_wait(stage: CrashStage, turn_id: str) -> bool:
    return all(await approvals(stage, turn_id))


@pytest.mark.parametrize(
    ("mode", "more", "reason"), [("first", {}, "lost_race"), ("quorum", {"quorum": 1}, "quorum_reached")]
)
async def test_who_answers_first_after_it_still_ends_the_others(
    stage: CrashStage, mode: str, more: dict[str, Any], reason: str
) -> None:
    agents = [await stage.machine(name, transport="runs") for name in ("nas", "laptop")]
    await stage.start()
    turn_id = (await stage.begin(f"{mode}@fleet", "!!approve=make hello", **more)).json()["id"]
    await until(lambda: all_wait(stage, turn_id), seconds=10)
    async with stage.crashed():
        pass
    (asked,), _ = await approvals(stage, turn_id)
    answered = await stage.client.post(f"/api/turns/{turn_id}/approvals/{asked['approval']}", json={"choice": "once"})
    assert answered.status_code == 200
    told = await stage.ended(turn_id)
    assert told["state"] == "done"
    assert [lane["state"] for lane in told["lanes"]] == ["done", "cancelled"]
    (ended,) = [event for event in await stage.events(turn_id) if event["event"] == "lane.cancelled"]
    assert (ended["reason"], ended["stopped"]) == (reason, True)
    assert [turn.state for agent in agents for turn in agent.turns] == ["finished", "stopped"]


async def test_a_cancel_that_was_under_way_is_gone_on_with(stage: CrashStage) -> None:
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(MockAgent("nas", key=AGENT_KEY))
        network = await stack.enter_async_context(Faulty(agent.api_port))
        stage.peer("nas", await stage.proxy("nas", network.port), transport="runs")
        await stage.start()
        turn_id = (await stage.begin("nas", FOR_EVER)).json()["id"]
        await until(lambda: has_run(stage, turn_id), seconds=10)
        async with network.suffering(Fault("refuse")), network.suffering(Fault("blackhole", seconds=60.0)):
            asked = await stage.client.post(f"/api/turns/{turn_id}/cancel")
            assert asked.status_code == 200
            async with stage.crashed():
                assert [event["event"] for event in stage.recorded()[turn_id]][-1] == "lane.stopping"
                assert [turn.state for turn in agent.turns] == ["running"]
        told = await stage.ended(turn_id)
        assert (told["state"], told["reason"]) == ("cancelled", "asked")
        assert [turn.state for turn in agent.turns] == ["stopped"]
