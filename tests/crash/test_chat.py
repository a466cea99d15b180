"""The coordinator is killed with SIGKILL while turns are chats: each is told as interrupted, with what it had."""

import asyncio

import httpx
from coordinator.stage import question
from switchboard_coordinator.turns.journal import TEXT_SECONDS
from waiting import until

from crash.stage import CrashStage

SAID = "[nas] echo: " + " ".join(["tick"] * 400)


async def test_a_chat_is_interrupted_and_keeps_what_it_had(stage: CrashStage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!delay=0.05 !!repeat=400 tick")).json()["id"]
    await until(lambda: has_said(stage, turn_id, 80), seconds=10)
    shown = (await stage.turn(turn_id))["lanes"][0]["text"]
    await asyncio.sleep(2 * TEXT_SECONDS)  # what was shown is written by then
    async with stage.crashed():
        await until(lambda: agent.turns[0].state == "interrupted", seconds=10)
    told = await stage.ended(turn_id)
    assert (told["state"], told["code"], told["started"]) == ("interrupted", "peer_outcome_unknown", "unknown")
    text = told["lanes"][0]["text"]
    assert SAID.startswith(text)
    assert text.startswith(shown)
    events = await stage.events(turn_id, "5")
    assert [event["event"] for event in events] == ["turn.snapshot", "lane.interrupted", "turn.interrupted"]
    assert events[0]["lanes"][0]["text"] == text
    assert len(agent.turns) == 1


async def has_said(stage: CrashStage, turn_id: str, characters: int) -> bool:
    return len((await stage.turn(turn_id))["lanes"][0]["text"]) > characters


async def test_a_chat_client_of_before_finds_its_turn_and_a_new_one_is_answered(stage: CrashStage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    keyed = {"idempotency-key": "k"}
    body = question("nas", "!!delay=0.05 !!repeat=400 tick")
    asking = asyncio.create_task(stage.client.post("/v1/chat/completions", json=body, headers=keyed))
    await until(lambda: len(agent.turns) == 1, seconds=10)
    async with stage.crashed():
        try:
            await asking
        except httpx.TransportError:
            pass
        else:
            raise AssertionError("nobody is there to answer")
    again = await stage.client.post("/v1/chat/completions", json=body, headers=keyed)
    assert (again.status_code, again.json()["error"]["code"]) == (502, "peer_outcome_unknown")
    assert again.headers["x-switchboard-started"] == "unknown"
    assert (await stage.ask("nas", "hello")).status_code == 200
    assert [turn.text for turn in agent.turns] == ["!!delay=0.05 !!repeat=400 tick", "hello"]
    states = [turn["state"] for turn in (await stage.client.get("/api/turns")).json()["turns"]]
    assert states == ["done", "interrupted"]
