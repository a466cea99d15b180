"""What a group's turn tells of its lanes' work, when it was not done."""

from coordinator.stage import Stage
from waiting import until

WAIT_SECONDS = 10.0


async def test_a_failed_lane_does_not_hide_that_a_cancelled_one_had_begun(stage: Stage) -> None:
    agent = await stage.machine("nas", capabilities=["gpu"])
    stage.peer("tower", 9, profiles={"default": {"capabilities": ["gpu"]}})
    await stage.start()
    begun = await stage.client.post("/api/turns", json={"to": "all@gpu", "text": "!!silence=30 hello"})
    turn = f"/api/turns/{begun.json()['id']}"
    await until(lambda: bool(agent.turns), seconds=WAIT_SECONDS)
    await stage.client.post(f"{turn}/cancel")

    async def is_over() -> bool:
        return bool((await stage.client.get(turn)).json()["state"] == "failed")

    await until(is_over, seconds=WAIT_SECONDS)
    told = (await stage.client.get(turn)).json()
    assert [lane["state"] for lane in told["lanes"]] == ["cancelled", "failed"]
    assert (told["code"], told["started"]) == ("peer_unavailable", "unknown")
