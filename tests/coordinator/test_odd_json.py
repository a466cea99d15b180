"""JSON that is correct and that not every reader takes: where the agent takes it, we do."""

import pytest
from coordinator.stage import Stage
from waiting import until

LONG = "123456789012345678901234567890"
CHAT = "/v1/chat/completions"


def asking(text: str, name: str = "model") -> str:
    """A body whose message holds a number of more than 64 bits."""
    part = '{"type":"text","text":"' + text + '","weight":' + LONG + "}"
    return '{"' + name + '":"nas","messages":[{"role":"user","content":[' + part + "]}]}"


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_numbers_of_any_length_are_asked(stage: Stage, transport: str) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    answer = await stage.client.post(CHAT, content=asking("odd"), headers={"x-switchboard-transport": transport})
    assert answer.status_code == 200, answer.text
    assert [turn.text for turn in agent.turns] == ["odd"]


async def test_a_turn_may_hold_numbers_of_any_length(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    begun = await stage.client.post("/api/turns", content=asking("odd", name="to"))
    assert begun.status_code == 202, begun.text
    await until(lambda: [turn.text for turn in agent.turns] == ["odd"], seconds=5)


@pytest.mark.parametrize("lane", ["false", '"0"', "0.5", "-1"])
async def test_a_lane_is_a_number_and_nothing_that_could_be_one(stage: Stage, lane: str) -> None:
    await stage.machine("nas")
    await stage.start()
    begun = (await stage.client.post("/api/turns", json={"to": "nas", "text": "!!silence=30 x"})).json()["id"]
    answer = await stage.client.post(f"/api/turns/{begun}/cancel", content='{"lane":' + lane + "}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert (await stage.client.get(f"/api/turns/{begun}")).json()["state"] in ("queued", "running")
