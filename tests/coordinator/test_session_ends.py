"""What a turn leaves of its session's home where it went another way than it set out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.keyring import give
from coordinator.stage import AGENT_KEY, Stage, plain_client, question
from switchboard_mock_agent.agent import MockAgent
from waiting import until

SESSION = {"x-hermes-session-id": "tale"}
MOVE = {**SESSION, "x-switchboard-move": "yes"}


@asynccontextmanager
async def at_its_limit(agent: MockAgent) -> AsyncIterator[None]:
    """Somebody else's turn takes the one place that the agent has."""
    headers = {"authorization": f"Bearer {AGENT_KEY}"}
    async with plain_client(base_url=f"http://127.0.0.1:{agent.api_port}", headers=headers) as other:
        busy = asyncio.create_task(other.post("/v1/chat/completions", json=question("x", "!!silence=60 busy")))
        await until(lambda: len(agent.turns) == 1, seconds=5)
        try:
            yield
        finally:
            busy.cancel()


async def test_a_turn_that_was_refused_and_then_cancelled_moves_nothing(stage: Stage) -> None:
    await stage.machine("nas")
    laptop = await stage.machine("laptop", agent_turns=1)
    await stage.start()
    async with at_its_limit(laptop):
        await stage.ask("nas", "one", headers=SESSION)
        turn_id = (await stage.begin("laptop", "two", headers=MOVE)).json()["id"]

        async def was_refused() -> bool:
            lane = (await stage.turn(turn_id))["lanes"][0]
            return bool(lane["attempts"] >= 1 and lane["state"] == "queued")

        await until(was_refused, seconds=5)
        await stage.client.post(f"/api/turns/{turn_id}/cancel")
        assert (await stage.ended(turn_id))["state"] == "cancelled"
    assert (await stage.ask("nas", "three", headers=SESSION)).status_code == 200


async def test_any_that_goes_on_from_a_home_that_refuses_says_that_it_moved(stage: Stage) -> None:
    key = give(stage, "roamer", "*", moves="follow")
    laptop = await stage.machine("laptop")
    await stage.machine("nas")
    await stage.start()
    async with stage.client_of(key) as client:
        await client.post("/v1/chat/completions", json=question("laptop", "hi"), headers=SESSION)
        laptop.gateway.is_draining = True
        answer = await client.post("/v1/chat/completions", json=question("any@fleet", "hi"), headers=SESSION)
    assert (answer.headers["x-switchboard-peer"], answer.headers["x-switchboard-affinity"]) == ("nas", "moved")


async def test_a_turn_that_is_over_still_tells_its_session(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "two", headers=SESSION)).json()["id"]
    await stage.ended(turn_id)
    assert (await stage.turn(turn_id))["session"] == "tale"


async def test_a_journal_that_is_off_keeps_no_command_that_an_agent_asked_about(stage: Stage) -> None:
    await stage.machine("nas", transport="runs")
    await stage.start(journal="off")
    answer = await stage.ask("nas", "!!approve=a-secret-command hello")
    assert "a-secret-command" in answer.text
    data = b"".join(file.read_bytes() for file in stage.folder.glob("switchboard.db*"))
    assert b"lane.approval" in data
    assert b"a-secret-command" not in data
