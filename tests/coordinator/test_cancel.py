"""Cancelled when cancelled: from the event to the closed connection, in every situation, and what is left: nothing."""

import asyncio
import gc
import os
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chance import as_many, seeded
from coordinator.stage import Stage, heard, question
from coordinator.watched_agent import WatchedAgent
from switchboard_mock_agent.agent import MockAgent
from waiting import until

CANCELS, CANCELS_AT_LENGTH = 500, 10_000
PROMISED_SECONDS = 0.1
ROOM = 10
SOME = 5
"""What comes and goes by itself: a look at a peer, an idle connection."""
WORDS = ("mute", "silent", "tool", "talk")
WAYS = ("leave", "cancel", "deadline")


async def watched(stage: Stage, name: str, **entry: Any) -> WatchedAgent:
    """A watched agent behind a real proxy."""
    agent = await stage.join(WatchedAgent())  # type: ignore[type-var]  # it listens as an odd peer does
    stage.peer(name, await stage.proxy(name, agent.port), **entry)
    return agent


class Asked:
    """A turn that somebody asked and will cancel; `way` says how, `cancelled_at` when."""

    def __init__(self, stage: Stage, way: str, model: str, text: str, *, stream: bool, deadline_ms: int = 400) -> None:
        self.cancelled_at = 0.0
        self.way = way
        self._found, self._created_at = "", 0.0
        self._stage = stage
        self._deadline_seconds = deadline_ms / 1000
        headers = {"x-switchboard-deadline-ms": str(deadline_ms)} if way == "deadline" else {}
        body = question(model, text, stream=stream)
        self._post = asyncio.create_task(stage.client.post("/v1/chat/completions", json=body, headers=headers))
        self._text = text

    async def is_under_way(self, has_begun: Callable[[], bool]) -> bool:
        """Wait until the agent has it; False where the deadline came first, on a machine that is slow."""
        await until(lambda: has_begun() or self._post.done(), seconds=10)
        return not self._post.done()

    async def cancel(self) -> None:
        """Do it, the agent being at work; wait for what the client is told."""
        match self.way:
            case "leave":
                self.cancelled_at = time.monotonic()
                self._post.cancel()
                await asyncio.gather(self._post, return_exceptions=True)
                return
            case "cancel":
                turn_id = await self._turn_id()
                self.cancelled_at = time.monotonic()
                answer = await self._stage.client.post(f"/api/turns/{turn_id}/cancel")
                assert answer.status_code == 200
            case "deadline":
                await until(self._is_found, seconds=5)
                since = self._created_at + self._deadline_seconds - time.time()
                self.cancelled_at = time.monotonic() + since
        told = await self._post
        code = "deadline_exceeded" if self.way == "deadline" else "turn_cancelled"
        if told.status_code == 200:
            assert (await heard(told)).chunks[-1]["error"]["code"] == code
        else:
            assert told.json()["error"]["code"] == code

    async def _turn_id(self) -> str:
        """The turn's id, as whoever looks for it finds it: a client that waits has no header yet."""
        await until(self._is_found, seconds=5)
        return self._found

    def _is_found(self) -> bool:
        with closing(sqlite3.connect(self._stage.database_file)) as database:
            query = "select id, created_at from turns where cast(question as text) like ? order by id desc"
            found = database.execute(query, (f'%"{self._text}"%',)).fetchone()
        self._found, self._created_at = found or ("", 0.0)
        return bool(found)


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


class Storm:
    """Cancels by chance, many at a time."""

    def __init__(self, stage: Stage, random: Random, agents: dict[str, WatchedAgent], run_agent: MockAgent) -> None:
        self.took: dict[str, list[float]] = {}
        self._stage = stage
        self._random = random
        self._agents = agents
        self._run_agent = run_agent
        self._count = 0

    async def run(self, cancels: int) -> None:
        """So many, eight at a time."""
        left = iter(range(cancels))

        async def worker() -> None:
            for _ in left:
                await self._random.choice((self._chat, self._chat, self._run, self._race))()

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(worker())

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _note(self, what: str, seconds: float) -> None:
        self.took.setdefault(what, []).append(seconds)

    async def _chat(self) -> None:
        text = f"{self._random.choice(WORDS)} {self._next()}"
        turns = self._agents["nas"].turns
        asked = self._ask("nas", text)
        if not await asked.is_under_way(lambda: text in turns and turns[text].is_shown):
            return
        await asked.cancel()
        async with asyncio.timeout(5):
            self._note("chat", await turns[text].closed - asked.cancelled_at)
        del turns[text]

    async def _run(self) -> None:
        text = f"!!silence=60 {self._next()}"
        asked = self._ask("tower", text)
        if not await asked.is_under_way(lambda: bool(self._run_agent.executed(text))):
            return
        turn = self._run_agent.executed(text)[0]
        await asked.cancel()
        await until(lambda: turn.ended_at is not None, seconds=5)
        assert turn.state == "stopped"
        self._note("runs", (turn.ended_at or 0.0) - asked.cancelled_at)

    def _ask(self, model: str, text: str) -> Asked:
        way = self._random.choice(("leave", "leave", "cancel", "cancel", "deadline"))
        return Asked(self._stage, way, model, text, stream=self._random.random() < 0.5, deadline_ms=200)

    async def _race(self) -> None:
        text = f"race {self._next()}"
        asking = asyncio.create_task(self._stage.ask("first@race", text))
        winner, loser = [await self._agents[name].begun(text) for name in ("left", "right")]
        lost_at = time.monotonic()
        winner.go_on.set()
        async with asyncio.timeout(5):
            self._note("race", await loser.closed - lost_at)
        assert (await asking).status_code == 200
        for name in ("left", "right"):
            del self._agents[name].turns[text]


def resident_bytes() -> int:
    """What this process holds: coordinator, proxies, agents and clients."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def running_tasks() -> Counter[str]:
    """How many there are of which kind."""
    return Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_many_cancels_leave_nothing_behind(stage: Stage) -> None:
    agents = {"nas": await watched(stage, "nas", max_turns=64)}
    for name in ("left", "right"):
        capabilities: Any = {"default": {"capabilities": ["race"]}}
        agents[name] = await watched(stage, name, profiles=capabilities, max_turns=64)
    run_agent = await stage.machine("tower", transport="runs", agent_turns=0, max_turns=64, keep=50)
    await stage.start()
    storm = Storm(stage, seeded(), agents, run_agent)
    wanted = as_many(CANCELS, CANCELS_AT_LENGTH)
    await storm.run(wanted // 5)  # until everything that is made once is there
    await until(lambda: is_settled(stage), seconds=10)
    tasks, files, held = running_tasks(), open_files(), resident_bytes()
    await storm.run(wanted)
    await until(lambda: is_settled(stage), seconds=10)
    left: Counter[str] = Counter()

    def is_quiet() -> bool:
        nonlocal left
        left = running_tasks() - tasks
        return left.total() <= SOME

    try:
        await until(is_quiet, seconds=10)
    except TimeoutError:
        raise AssertionError(f"more tasks than before: {left}") from None
    await until(lambda: open_files() <= files + SOME, seconds=10)
    grown = resident_bytes() / held - 1
    for what, took in storm.took.items():
        p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
        print(f"{what}: {len(took)} cancels, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
        assert p99 < ROOM * PROMISED_SECONDS
    print(f"memory {held / 2**20:.0f} MiB, grown by {grown:.1%}")
    assert grown < 0.05


async def is_settled(stage: Stage) -> bool:
    """Whether no turn is open, no place taken, nothing waiting."""
    with closing(sqlite3.connect(stage.database_file)) as database:
        if database.execute("select count(*) from turns where ended_at is null").fetchone()[0]:
            return False
    places = [(peer["turns"]["running"], peer["turns"]["waiting"]) for peer in (await stage.peers()).values()]
    return set(places) == {(0, 0)}
