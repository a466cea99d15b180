"""A coordinator whose operator wants no text kept: what still works, what is refused in words, what is on disk."""

from typing import Any

import pytest
from coordinator.stage import Stage, heard, question
from waiting import until

NEEDED = (400, "journal_needed")
SECRET = "a-word-that-nobody-writes-down"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_turns_are_answered_as_ever(stage: Stage, stream: bool, transport: str) -> None:
    for name in ("nas", "tower"):
        await stage.machine(name, transport=transport)
    await stage.start(journal="off")
    for model in ("nas", "all@fleet"):
        body = question(model, f"!!delay=0.05 !!repeat=3 {SECRET}", stream=stream)
        answer = await stage.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        text = (await heard(answer)).text if stream else answer.json()["choices"][0]["message"]["content"]
        said = " ".join([SECRET] * 3)
        assert f"[nas] echo: {said}" in text
        assert (f"[tower] echo: {said}" in text) == (model != "nas")


async def test_what_needs_a_journal_is_refused_in_words(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start(journal="off")
    keyed, detached = {"idempotency-key": "k"}, {"x-switchboard-on-disconnect": "detach"}
    for headers in (keyed, detached):
        answer = await stage.ask("nas", "hello", headers=headers)
        error: dict[str, Any] = answer.json()["error"]
        assert (answer.status_code, error["code"]) == NEEDED
        assert "journal" in error["message"]
    for more in ({}, {"policy": "detach"}, {"policy": "cancel", "headers": keyed}):
        answer = await stage.begin("nas", "hello", **more)
        assert (answer.status_code, answer.json()["code"]) == NEEDED
    assert agent.turns == []


async def test_a_turn_is_read_while_it_goes_on_and_from_its_beginning_alone(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start(journal="off")
    begun = await stage.begin("nas", "!!delay=0.05 !!repeat=30 tick", policy="cancel")
    turn_id = begun.json()["id"]
    async with stage.client.stream("GET", f"/api/turns/{turn_id}/events") as reader:
        pieces = reader.aiter_bytes()
        await anext(pieces)
        await until(lambda: has_said(stage, turn_id, 20), seconds=5)
        again = await stage.client.get(f"/api/turns/{turn_id}/events", headers={"last-event-id": "1"})
        assert (again.status_code, again.json()["code"]) == NEEDED
        late = await stage.events(turn_id)
        assert "".join(event.get("text", "") for event in late) == "[nas] echo: " + " ".join(["tick"] * 30)
    told = await stage.turn(turn_id)
    assert (told["state"], told["lanes"][0]["state"]) == ("done", "done")
    over = await stage.client.get(f"/api/turns/{turn_id}/events")
    assert (over.status_code, over.json()["code"]) == NEEDED
    assert (await stage.turn(turn_id))["lanes"][0]["text"] is None
    assert [turn["id"] for turn in (await stage.client.get("/api/turns")).json()["turns"]] == [turn_id]


async def has_said(stage: Stage, turn_id: str, characters: int) -> bool:
    return len((await stage.turn(turn_id))["lanes"][0]["text"]) > characters


async def test_no_word_of_a_turn_is_on_disk(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.machine("tower", transport="runs")
    await stage.start(journal="off")
    for model in ("nas", "tower", "all@fleet", "council@fleet"):
        for text in (
            f"!!delay=0.03 {SECRET}",
            f'!!tool=terminal:{{"command":"echo {SECRET}"}} x',
            f"!!fail=401 {SECRET}",
        ):
            await stage.ask(model, text)
    count = len((await stage.client.get("/api/turns")).json()["turns"])
    assert count == 12
    assert SECRET.encode() not in on_disk(stage)
    assert b"turn.accepted" in on_disk(stage)


async def test_with_a_journal_the_words_are_there(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    await stage.ask("nas", SECRET)
    assert SECRET.encode() in on_disk(stage)


def on_disk(stage: Stage) -> bytes:
    """Every byte of the database and its log."""
    files = stage.folder.glob(f"{stage.database_file.name}*")
    return b"".join(file.read_bytes() for file in files)
