"""`POST /api/remote-agent/invoke`, the shape of the issue that started this."""

import httpx
import pytest
from coordinator.stage import Stage
from waiting import until


async def test_a_message_to_one_target_gets_its_reply(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    await stage.start()
    answer = await stage.client.post("/api/remote-agent/invoke", json={"target": "nas", "message": "ping"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["usage"]["total_tokens"] > 0
    assert told["duration_ms"] >= 0
    del told["usage"], told["duration_ms"]
    assert told == {"target": "default@nas", "peer": "nas", "profile": "default", "reply": "[nas] echo: ping"}
    other = await stage.client.post("/api/remote-agent/invoke", json={"target": "work@nas", "message": "ping"})
    assert other.json()["reply"] == "[nas/work] echo: ping"
    assert [turn.profile for turn in agent.turns] == ["default", "work"]


async def test_a_turn_that_failed_is_a_problem(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    answer = await stage.client.post("/api/remote-agent/invoke", json={"target": "nas", "message": "!!fail=401 x"})
    assert (answer.status_code, answer.json()["code"]) == (502, "peer_failed")
    assert answer.json()["detail"].startswith("default@nas failed: HTTP 401")
    assert answer.headers["x-switchboard-started"] == "yes"


async def test_a_client_that_leaves_interrupts_the_agent(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    body = {"target": "nas", "message": "!!delay=0.02 !!repeat=4000 tick"}
    async with stage.client_of(stage.key) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/api/remote-agent/invoke", json=body, timeout=0.5)
    await until(lambda: agent.turns[0].state == "interrupted", seconds=5)
