"""Cancels by chance, many at a time, of turns at watched agents; timed from the event to the closed connection."""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any, Self

from coordinator.stage import Stage, heard, question
from coordinator.watched_agent import WatchedAgent
from switchboard_mock_agent.agent import MockAgent
from waiting import until

PROMISED_SECONDS = 0.1
ROOM = 10
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


class Storm:
    """Cancels by chance, many at a time."""

    @classmethod
    async def laid(cls, stage: Stage, random: Random) -> Self:
        """The agents that it needs; the coordinator is started then."""
        agents = {"nas": await watched(stage, "nas", max_turns=64)}
        for name in ("left", "right"):
            capabilities: Any = {"default": {"capabilities": ["race"]}}
            agents[name] = await watched(stage, name, profiles=capabilities, max_turns=64)
        run_agent = await stage.machine("tower", transport="runs", agent_turns=0, max_turns=64, keep=50)
        await stage.start()
        return cls(stage, random, agents, run_agent)

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

    def check(self) -> None:
        """Print how long it took, and hold it to what is promised."""
        for what, took in self.took.items():
            p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
            print(f"{what}: {len(took)} cancels, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
            assert p99 < ROOM * PROMISED_SECONDS


async def is_settled(stage: Stage) -> bool:
    """Whether no turn is open, no place taken, nothing waiting."""
    with closing(sqlite3.connect(stage.database_file)) as database:
        if database.execute("select count(*) from turns where ended_at is null").fetchone()[0]:
            return False
    places = [(peer["turns"]["running"], peer["turns"]["waiting"]) for peer in (await stage.peers()).values()]
    return set(places) == {(0, 0)}
