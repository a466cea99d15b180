import asyncio
from uuid import uuid4

import httpx
import pytest
from waiting import until

from real_agent import processes, turns
from real_agent.asking import stream
from real_agent.model import Asked
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED_SECONDS = 20.0
STOPPED_SECONDS = 10.0
"""Ten times what is promised: a real agent has stopped within a second."""
LONG = "!!delay=0.1 !!repeat=100"
SILENT = "!!silence=60"


@pytest.mark.parametrize("words", [LONG, SILENT], ids=["speaking", "silent"])
async def test_a_cancelled_run_is_stopped_and_its_model_left(
    stage: Stage, client: httpx.AsyncClient, words: str
) -> None:
    mark = uuid4().hex
    turn = await turns.begin(client, "nas", f"{words} {mark}", transport="runs")
    asked = await _asked(stage, mark)

    async with asyncio.timeout(STOPPED_SECONDS):
        await client.post(f"/api/turns/{turn}/cancel", json={})
        await _has_left(asked)
        ended = await turns.ended(client, turn)
        await _has_stopped(stage, ended["lanes"][0]["run_id"])

    assert ended["state"] == "cancelled"


async def test_a_run_that_is_cancelled_in_a_silent_tool_ends_the_tool(stage: Stage, client: httpx.AsyncClient) -> None:
    nap = f"61.{uuid4().int % 10**6}"
    turn = await turns.begin(client, "nas", f'!!tool=terminal:{{"command":"sleep {nap}"}} go', transport="runs")
    await until(lambda: _sleeps(stage, nap), seconds=ASKED_SECONDS)

    async with asyncio.timeout(STOPPED_SECONDS):
        await client.post(f"/api/turns/{turn}/cancel", json={})
        await until(lambda: not _sleeps(stage, nap), seconds=STOPPED_SECONDS)
        ended = await turns.ended(client, turn)
        await _has_stopped(stage, ended["lanes"][0]["run_id"])

    assert ended["state"] == "cancelled"


async def test_a_chat_client_that_leaves_a_run_stops_it(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    async with stream(client, "nas", f"{SILENT} {mark}", headers={"x-switchboard-transport": "runs"}) as answer:
        asked = await _asked(stage, mark)
        turn = answer.headers["x-switchboard-turn"]

    async with asyncio.timeout(STOPPED_SECONDS):
        await _has_left(asked)
        ended = await turns.ended(client, turn)
        await _has_stopped(stage, ended["lanes"][0]["run_id"])

    assert ended["state"] == "cancelled"


async def test_a_cancelled_chat_leaves_its_model_when_the_agent_next_writes(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    mark = uuid4().hex
    turn = await turns.begin(client, "nas", f"{LONG} {mark}", transport="chat")
    asked = await _asked(stage, mark)

    async with asyncio.timeout(STOPPED_SECONDS):
        await client.post(f"/api/turns/{turn}/cancel", json={})
        await _has_left(asked)

    assert (await turns.ended(client, turn))["state"] == "cancelled"


async def test_one_lane_is_cancelled_and_the_other_goes_on(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    turn = await turns.begin(client, "all@code", f"{SILENT} {mark}", transport="runs")
    await until(lambda: len(_all(stage, mark)) == 2, seconds=ASKED_SECONDS)
    asked = {each.peer: each for each in _all(stage, mark)}

    await client.post(f"/api/turns/{turn}/cancel", json={"lane": 0})
    await _has_left(asked["nas"])
    lanes = (await turns.told(client, turn))["lanes"]
    other = asked["laptop"].outcome
    await client.post(f"/api/turns/{turn}/cancel", json={"lane": 1})

    assert [(lane["address"], lane["state"]) for lane in lanes] == [
        ("work@nas", "cancelled"),
        ("default@laptop", "running"),
    ]
    assert other == "running"
    assert (await turns.ended(client, turn))["state"] == "cancelled"


def _all(stage: Stage, mark: str) -> list[Asked]:
    return [asked for asked in stage.model.asked if mark in asked.text]


async def _asked(stage: Stage, mark: str) -> Asked:
    """What the agent asked its model, once it has."""
    await until(lambda: bool(_all(stage, mark)), seconds=ASKED_SECONDS)
    return _all(stage, mark)[0]


async def _has_left(asked: Asked) -> None:
    """Wait until the agent has closed its connection to the model before the answer was whole."""
    await until(lambda: asked.outcome == "left", seconds=STOPPED_SECONDS)


def _sleeps(stage: Stage, nap: str) -> bool:
    return any(processes.command(pid) == ["sleep", nap] for pid in processes.marked(stage.nas.run))


async def _has_stopped(stage: Stage, run_id: str) -> None:
    """Wait until the agent itself says so."""
    async with stage.nas.client() as agent:

        async def is_cancelled() -> bool:
            status: str = (await agent.get(f"/v1/runs/{run_id}")).json()["status"]
            return status == "cancelled"

        await until(is_cancelled, seconds=STOPPED_SECONDS)
