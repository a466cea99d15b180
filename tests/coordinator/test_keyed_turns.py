"""Idempotency-Key: the same key and request are the same turn, running or finished, for its consumer, for a day."""

import asyncio
from typing import Any

import httpx
import pytest
from coordinator.stage import Stage, heard, question
from switchboard_coordinator.keys.consumers_file import add_consumer
from switchboard_coordinator.turns import turns
from switchboard_coordinator.turns.journal import Journal
from waiting import until

KEY = {"idempotency-key": "once-7"}
SLOW = "!!delay=0.05 !!repeat=20 tick"


async def test_a_finished_turn_is_answered_again_and_not_executed_again(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    first = await stage.ask("nas", "hello", headers=KEY)
    again = await stage.ask("nas", "hello", headers=KEY)
    assert again.json() == first.json()
    assert again.headers["x-switchboard-turn"] == first.headers["x-switchboard-turn"]
    assert len(agent.turns) == 1


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_a_stream_is_told_again_word_for_word(stage: Stage, transport: str) -> None:
    agent = await stage.machine("nas", transport=transport)
    await stage.start()
    body = question("nas", "!!repeat=9 hello you", stream=True)
    told = [await heard(await stage.client.post("/v1/chat/completions", json=body, headers=KEY)) for _ in range(2)]
    assert told[0].is_whole
    assert told[1].is_whole
    assert told[0].text == told[1].text == "[nas] echo: " + " ".join(["hello you"] * 9)
    assert told[0].chunks[-1]["usage"] == told[1].chunks[-1]["usage"]
    assert len(agent.turns) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_running_turn_is_joined(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    body = question("nas", SLOW, stream=stream)

    async def ask() -> httpx.Response:
        return await stage.client.post("/v1/chat/completions", json=body, headers=KEY)

    answers = await asyncio.gather(*(ask() for _ in range(5)))
    assert len({answer.headers["x-switchboard-turn"] for answer in answers}) == 1
    said = [(await heard(answer)).text if stream else text_of(answer) for answer in answers]
    assert said == ["[nas] echo: " + " ".join(["tick"] * 20)] * 5
    assert len(agent.turns) == 1


def text_of(answer: httpx.Response) -> Any:
    return answer.json()["choices"][0]["message"]["content"]


async def test_many_at_once_in_a_new_session_are_one_turn(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    headers = {**KEY, "x-hermes-session-id": "s1"}
    answers = await asyncio.gather(*(stage.ask("nas", "hello", headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(agent.turns) == 1


async def test_a_turn_that_begins_and_ends_while_its_key_is_looked_up_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    keyed = Journal.keyed
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(self: Journal, consumer: str, key: str) -> Any:
        found = await keyed(self, consumer, key)
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(Journal, "keyed", slowly)
    late = asyncio.create_task(stage.ask("nas", "hello", headers=KEY))
    await looked.wait()
    first = await stage.ask("nas", "hello", headers=KEY)
    await until(lambda: stage_is_idle(stage, first.headers["x-switchboard-turn"]), seconds=5)
    go_on.set()
    assert (await late).json() == first.json()
    assert len(agent.turns) == 1


async def stage_is_idle(stage: Stage, turn_id: str) -> bool:
    return bool((await stage.turn(turn_id))["state"] == "done")


async def test_one_of_several_clients_that_leaves_does_not_end_the_others_turn(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    asked: Any = {"json": question("nas", SLOW, stream=True), "headers": KEY}
    async with stage.client.stream("POST", "/v1/chat/completions", **asked) as second_to_last:
        async with stage.client.stream("POST", "/v1/chat/completions", **asked) as last:
            await anext(aiter(last.aiter_bytes()))
            turn_id = last.headers["x-switchboard-turn"]
            async with stage.client.stream("GET", f"/api/turns/{turn_id}/events") as reader:
                await anext(aiter(reader.aiter_bytes()))
        assert (await stage.turn(turn_id))["state"] == "running"
        assert (await heard(second_to_last)).is_whole
    assert [turn.state for turn in agent.turns] == ["finished"]


async def test_another_request_under_the_same_key_is_a_conflict(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    assert (await stage.ask("nas", "hello", headers=KEY)).status_code == 200
    for asked in (
        stage.ask("nas", "hello you", headers=KEY),
        stage.ask("nas", "hello", headers={**KEY, "x-switchboard-to": "nas"}),
        stage.begin("nas", "hello", headers=KEY),
    ):
        answer = await asked
        assert answer.status_code == 409
        assert "idempotency_key_conflict" in answer.text
    assert len(agent.turns) == 1


async def test_a_key_is_its_consumers_own(stage: Stage) -> None:
    agent = await stage.machine("nas")
    stage.secrets.chmod(0o700)
    yours = add_consumer(stage.secrets / "consumers", "you")
    await stage.start()
    async with stage.client_of(yours) as you:
        mine = await stage.ask("nas", "hello", headers=KEY)
        other = await you.post("/v1/chat/completions", json=question("nas", "hello you"), headers=KEY)
        assert mine.headers["x-switchboard-turn"] != other.headers["x-switchboard-turn"]
        hidden = await you.get(f"/api/turns/{mine.headers['x-switchboard-turn']}")
        assert hidden.status_code == 404
        assert hidden.json()["code"] == "turn_not_found"
        assert [turn["id"] for turn in (await you.get("/api/turns")).json()["turns"]] == [
            other.headers["x-switchboard-turn"]
        ]
    assert [turn.text for turn in agent.turns] == ["hello", "hello you"]


async def test_a_key_stands_for_a_day(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    assert turns.KEY_SECONDS == 24 * 3600
    first = await stage.ask("nas", "hello", headers=KEY)
    monkeypatch.setattr(turns, "KEY_SECONDS", 0.0)
    second = await stage.ask("nas", "hello you", headers=KEY)
    assert second.status_code == 200
    monkeypatch.setattr(turns, "KEY_SECONDS", 60.0)
    third = await stage.ask("nas", "hello you", headers=KEY)
    ids = [answer.headers["x-switchboard-turn"] for answer in (first, second, third)]
    assert ids[0] != ids[1] == ids[2]
    assert len(agent.turns) == 2


async def test_a_turn_that_failed_is_told_as_failed_again(stage: Stage) -> None:
    odd = await stage.odd("nas", b"")
    await stage.start()
    answers = [await stage.ask("nas", "hello", headers=KEY, stream=stream) for stream in (False, False)]
    assert [answer.status_code for answer in answers] == [502, 502]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["x-switchboard-started"] == answers[1].headers["x-switchboard-started"] == "unknown"
    assert odd.turns == 1


async def test_on_the_turn_surface_a_turn_that_was_begun_before_is_200(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    first, second = [await stage.begin("nas", SLOW, headers=KEY) for _ in range(2)]
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    await stage.ended(first.json()["id"])
    third = await stage.begin("nas", SLOW, headers=KEY)
    assert (third.status_code, third.json()["id"], third.json()["state"]) == (200, first.json()["id"], "done")
    assert len(agent.turns) == 1


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
async def test_a_key_that_is_none_is_refused(stage: Stage, key: str) -> None:
    await stage.machine("nas")
    await stage.start()
    answer = await stage.ask("nas", "hello", headers={"idempotency-key": key.encode()})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "idempotency-key"
