"""A machine that stands still: it takes connections, acknowledges what it is sent, and answers nothing any more."""

import asyncio

import pytest
from coordinator.stage import OddPeer, Stage
from waiting import until


async def test_a_turn_on_a_machine_that_stands_still_ends_as_unknown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_coordinator.peers.peer.VANISHED_SECONDS", 0.5)
    monkeypatch.setattr("switchboard_coordinator.peers.watch.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("switchboard_coordinator.peers.watch.UP_SECONDS", 0.1)
    odd = await stage.odd("nas", is_mute=True)
    await stage.start()
    asking = asyncio.create_task(stage.ask("nas", "hi"))
    await until(lambda: odd.turns == 1, seconds=5)
    odd.is_absent = True
    answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "peer_outcome_unknown")
    assert answer.headers["x-switchboard-started"] == "unknown"


async def test_silence_of_a_turn_alone_is_no_failure(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard_coordinator.peers.peer.VANISHED_SECONDS", 0.3)
    monkeypatch.setattr("switchboard_coordinator.peers.watch.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("switchboard_coordinator.peers.watch.UP_SECONDS", 0.1)
    odd: OddPeer = await stage.odd("nas", is_mute=True)
    await stage.start()
    asking = asyncio.create_task(stage.ask("nas", "hi"))
    await until(lambda: odd.turns == 1, seconds=5)
    looks = odd.looks
    await until(lambda: odd.looks >= looks + 8, seconds=10)
    assert not asking.done()
    asking.cancel()
