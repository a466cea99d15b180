"""Cancelled when cancelled: from the event to the closed connection, in every situation, and what is left: nothing."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from chance import seeded
from coordinator.stage import Stage
from coordinator.storm import PROMISED_SECONDS, ROOM, WAYS, WORDS, Asked, Storm, is_settled, watched
from waiting import until

CANCELS = 500
SOME_TASKS = 5
"""What comes and goes by itself: looks at peers."""
SOME_FILES = 60
"""Idle connections: eight turns at a time, three hops, both ends. A socket for each cancel would be far more."""


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_connection_is_closed_at_once(stage: Stage, way: str, word: str) -> None:
    agent = await watched(stage, "nas")
    await stage.start()

    async def is_closed(text: str, *, stream: bool) -> None:
        asked = Asked(stage, way, "nas", text, stream=stream)
        turn = await agent.begun(text)
        await asked.cancel()
        async with asyncio.timeout(5):
            took = await turn.closed - asked.cancelled_at
        assert took < ROOM * PROMISED_SECONDS

    await asyncio.gather(is_closed(f"{word} streamed", stream=True), is_closed(f"{word} whole", stream=False))
    await until(lambda: is_idle(stage), seconds=5)


async def is_idle(stage: Stage) -> bool:
    """Whether every turn is over and every place is free."""
    turns = (await stage.client.get("/api/turns")).json()["turns"]
    places = [(peer["turns"]["running"], peer["turns"]["waiting"]) for peer in (await stage.peers()).values()]
    return all(turn["state"] == "cancelled" and turn["ended_at"] for turn in turns) and set(places) == {(0, 0)}


@pytest.mark.parametrize("words", ["!!delay=0.02 !!repeat=4000", "!!silence=60", "!!hold=0.3 !!silence=60"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_is_stopped_at_once(stage: Stage, way: str, words: str) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()

    async def is_stopped(text: str, *, stream: bool) -> None:
        asked = Asked(stage, way, "nas", text, stream=stream)
        await until(lambda: bool(agent.executed(text)), seconds=5)
        turn = agent.executed(text)[0]
        await asked.cancel()
        await until(lambda: turn.ended_at is not None, seconds=5)
        assert turn.state == "stopped"
        took = (turn.ended_at or 0.0) - asked.cancelled_at
        assert took < ROOM * PROMISED_SECONDS + 0.3  # a run can be stopped once its id is known

    await asyncio.gather(is_stopped(f"{words} streamed", stream=True), is_stopped(f"{words} whole", stream=False))
    await until(lambda: is_idle(stage), seconds=5)
    for turn in (await stage.client.get("/api/turns")).json()["turns"]:
        assert (await stage.events(turn["id"]))[-2]["stopped"] is True


async def test_one_lane_of_many_is_cancelled_and_the_others_go_on(stage: Stage) -> None:
    agents = {name: await watched(stage, name) for name in ("nas", "tower", "laptop")}
    await stage.start()
    turn_id = (await stage.begin("all@fleet", "race all")).json()["id"]
    turns = {name: await agent.begun("race all") for name, agent in agents.items()}
    asked_at = time.monotonic()
    wrong = await stage.client.post(f"/api/turns/{turn_id}/cancel", json={"lane": 3})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")
    assert (await stage.client.post(f"/api/turns/{turn_id}/cancel", json={"lane": 1})).status_code == 200
    async with asyncio.timeout(5):
        assert await turns["tower"].closed - asked_at < ROOM * PROMISED_SECONDS
    assert [lane["state"] for lane in (await stage.turn(turn_id))["lanes"]] == ["running", "cancelled", "running"]
    for turn in turns.values():
        turn.go_on.set()
    told = await stage.ended(turn_id)
    assert told["state"] == "done"
    assert [lane["state"] for lane in told["lanes"]] == ["done", "cancelled", "done"]


async def test_who_loses_a_race_is_cancelled(stage: Stage) -> None:
    agents = {name: await watched(stage, name) for name in ("nas", "tower", "laptop")}
    await stage.start()
    asking = asyncio.create_task(stage.hear("first@fleet", "race first"))
    turns = {name: await agent.begun("race first") for name, agent in agents.items()}
    lost_at = time.monotonic()
    turns["tower"].go_on.set()
    async with asyncio.timeout(5):
        took = [await turns[name].closed - lost_at for name in ("nas", "laptop")]
    assert max(took) < ROOM * PROMISED_SECONDS
    told = await asking
    assert (told.is_whole, told.text) == (True, "tick ")


@pytest.mark.parametrize("way", WAYS)
async def test_a_turn_that_waits_is_cancelled_without_being_sent(stage: Stage, way: str) -> None:
    agent = await watched(stage, "nas", max_turns=1)
    await stage.start()
    holding = Asked(stage, "leave", "nas", "silent on", stream=True)
    await agent.begun("silent on")
    waiting = Asked(stage, way, "nas", "silent too", stream=True)
    await until(lambda: is_waiting(stage, 1), seconds=5)
    await waiting.cancel()
    await until(lambda: is_waiting(stage, 0), seconds=5)
    await holding.cancel()
    await until(lambda: is_idle(stage), seconds=5)
    assert list(agent.turns) == ["silent on"]


async def is_waiting(stage: Stage, count: int) -> bool:
    return bool((await stage.peers())["nas"]["turns"]["waiting"] == count)


async def test_cancelling_twice_or_too_late_changes_nothing(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    done = (await stage.begin("nas", "hello")).json()["id"]
    await stage.ended(done)
    running = (await stage.begin("nas", "!!silence=60 x")).json()["id"]
    for turn_id, state in ((done, "done"), (running, "cancelled")):
        for _ in range(2):
            assert (await stage.client.post(f"/api/turns/{turn_id}/cancel")).status_code == 200
        assert (await stage.ended(turn_id))["state"] == state
        events = [event["event"] for event in await stage.events(turn_id)]
        assert events[-1] == f"turn.{state}"
        assert len([event for event in events if event.startswith("lane.cancel")]) == (state == "cancelled")


def running_tasks() -> Counter[str]:
    """How many there are of which kind."""
    return Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_many_cancels_leave_nothing_behind(stage: Stage) -> None:
    storm = await Storm.laid(stage, seeded())
    await storm.run(CANCELS // 5)  # until everything that is made once is there
    await until(lambda: is_settled(stage), seconds=10)
    tasks, files = running_tasks(), open_files()
    await storm.run(CANCELS)
    await until(lambda: is_settled(stage), seconds=10)
    left: Counter[str] = Counter()

    def is_quiet() -> bool:
        nonlocal left
        left = running_tasks() - tasks
        return left.total() <= SOME_TASKS

    try:
        await until(is_quiet, seconds=10)
    except TimeoutError:
        raise AssertionError(f"more tasks than before: {left}") from None
    await until(lambda: open_files() <= files + SOME_FILES, seconds=10)
    storm.check()
