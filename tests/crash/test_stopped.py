"""The coordinator is told to end while turns are at work: they have the drain time, whether read or not."""

import pytest

from crash.stage import CrashStage


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_a_turn_that_nobody_reads_comes_to_its_end_before_the_coordinator_does(
    stage: CrashStage, transport: str
) -> None:
    agent = await stage.machine("nas", transport=transport)
    await stage.start()
    turn_id = (await stage.begin("nas", "!!delay=0.2 hello to you")).json()["id"]
    async with stage.stopped():
        pass
    told = await stage.ended(turn_id)
    assert (told["state"], told["lanes"][0]["text"].strip()) == ("done", "[nas] echo: hello to you")
    assert [turn.state for turn in agent.turns] == ["finished"]


async def test_a_turn_that_takes_longer_than_the_drain_is_told_as_interrupted(stage: CrashStage) -> None:
    await stage.machine("nas")
    await stage.start(drain_seconds=0.3)
    turn_id = (await stage.begin("nas", "!!delay=0.2 !!repeat=400 tick")).json()["id"]
    async with stage.stopped():
        pass
    told = await stage.ended(turn_id)
    assert (told["state"], told["code"]) == ("interrupted", "peer_outcome_unknown")
