"""The coordinator is killed with SIGKILL while turns are runs: what it had recorded goes on, the rest is told."""

import asyncio
import sqlite3
import time
from contextlib import closing
from random import Random
from typing import Any

import httpx
from chance import as_many, seeded
from coordinator.stage import heard, question
from switchboard_mock_agent.agent import MockAgent
from waiting import until

from crash.stage import CrashStage

TURNS, TURNS_AT_LENGTH = 20, 200
AT_ONCE = 5
PROMISED_SECONDS = 5.0
ROOM = 10
KEY = {"idempotency-key": "once-7"}


class Reader:
    """Reads a turn until the coordinator dies, and later from where it was."""

    def __init__(self, stage: CrashStage, turn_id: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._client = stage.client
        self._path = f"/api/turns/{turn_id}/events"
        self._cursor = "0"

    async def read(self) -> None:
        """As far as it goes."""
        buffered = b""
        try:
            async with self._client.stream("GET", self._path, headers={"last-event-id": self._cursor}) as answer:
                async for piece in answer.aiter_bytes():
                    *frames, buffered = (buffered + piece).split(b"\n\n")
                    for frame in frames:
                        self._see(frame.decode())
        except httpx.TransportError:
            pass

    def _see(self, frame: str) -> None:
        if not frame.startswith(":"):
            lines = dict(line.split(": ", 1) for line in frame.splitlines())
            self._cursor = lines["id"]
            self.events.append({"cursor": lines["id"], **httpx.Response(200, text=lines["data"]).json()})

    def check(self, text: str) -> None:
        """What it saw before, then one snapshot, then the rest, is the whole."""
        names = [event["event"] for event in self.events]
        snapshots = [place for place, name in enumerate(names) if name == "turn.snapshot"]
        assert len(snapshots) == 1
        assert names[-1] == "turn.done"
        before, after = self.events[: snapshots[0]], self.events[snapshots[0] :]
        assert [event["id"] for event in before] == list(range(1, len(before) + 1))
        assert [event["id"] for event in after] == list(range(after[0]["id"], after[-1]["id"] + 1))
        said = "".join(event.get("text", "") for event in after)
        assert after[0]["lanes"][0]["text"] + said == text
        assert text.startswith("".join(event.get("text", "") for event in before))
        assert all("-" not in event["cursor"] for event in before)
        assert all(event["cursor"].endswith("-1") for event in after)


async def test_every_turn_whose_run_was_recorded_is_read_again_after_a_crash(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs", agent_turns=0, max_turns=2 * AT_ONCE)
    await stage.start()
    random = seeded()
    recorded, took = 0, [0.0]
    kills = 0
    while recorded < as_many(TURNS, TURNS_AT_LENGTH):
        recorded += await one_crash(stage, agent, random, took)
        kills += 1
    print(f"{kills} kills: {recorded} recorded runs were whole, the last at most {max(took):.2f} s after the restart")
    assert max(took) < ROOM * PROMISED_SECONDS


async def one_crash(stage: CrashStage, agent: MockAgent, random: Random, took: list[float]) -> int:
    """Begin some turns, kill the coordinator at some moment, and see what becomes of each; how many were recorded."""
    texts = {f"{random.random()} " * random.randint(5, 40): "" for _ in range(AT_ONCE)}
    before = set(stage.recorded())
    begun = [asyncio.create_task(begin(stage, text)) for text in texts]
    await asyncio.sleep(random.random() * 0.4)  # the moment of its death
    readers = {task.result(): Reader(stage, task.result()) for task in begun if task.done()}
    reading = [asyncio.create_task(reader.read()) for reader in readers.values()]
    await asyncio.sleep(random.random() * 0.2)
    async with stage.crashed():
        ids = await asyncio.gather(*begun)
        await asyncio.gather(*reading)
        known = {turn_id: events for turn_id, events in stage.recorded().items() if turn_id not in before}
    assert {turn_id for turn_id in ids if turn_id} <= known.keys(), "what was promised was written"
    count = 0
    for turn_id, events in known.items():
        told = await stage.ended(turn_id)
        names = [event["event"] for event in events]
        runs = agent.executed(asked_of(stage, turn_id))
        assert len(runs) <= 1
        if "turn.done" in names or "lane.run" in names:
            count += "turn.done" not in names
            took.append(time.monotonic() - stage.started_at)
            text = "[nas] echo: " + runs[0].text.partition(" ")[2].strip()
            assert (told["state"], told["lanes"][0]["text"].strip()) == ("done", text)
            if turn_id in readers and "turn.done" not in names:
                await readers[turn_id].read()
                readers[turn_id].check(told["lanes"][0]["text"])
        elif "lane.sent" in names:
            assert (told["state"], told["code"], told["started"]) == ("interrupted", "peer_outcome_unknown", "unknown")
        else:
            assert (told["state"], told["started"], runs) == ("interrupted", "no", [])
    open_now = (await stage.client.get("/api/turns", params={"state": "running"})).json()["turns"]
    assert open_now == []
    return count


async def begin(stage: CrashStage, text: str) -> str:
    """The turn's id; empty where the coordinator died before it gave one."""
    try:
        return str((await stage.begin("nas", f"!!delay=0.02 {text}")).json()["id"])
    except httpx.TransportError:
        return ""


def asked_of(stage: CrashStage, turn_id: str) -> str:
    """What was asked in a turn."""
    with closing(sqlite3.connect(stage.database_file)) as database:
        found = database.execute("select question from turns where id = ?", (turn_id,)).fetchone()
    return str(httpx.Response(200, content=found[0]).json()[-1]["content"])


async def test_killed_between_sending_a_run_and_hearing_its_id_it_is_never_sent_again(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!hold=600 !!silence=600 hello", headers=KEY)).json()["id"]
    await until(lambda: len(agent.turns) == 1, seconds=10)
    async with stage.crashed():
        names = [event["event"] for event in stage.recorded()[turn_id]]
        assert names == ["turn.accepted", "lane.sent"]
    await is_unknown(stage, agent, turn_id)


async def test_killed_between_hearing_a_runs_id_and_recording_it_it_is_never_sent_again(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!hold=1 !!silence=600 hello", headers=KEY)).json()["id"]
    await until(lambda: len(agent.turns) == 1, seconds=10)
    with closing(sqlite3.connect(stage.database_file, isolation_level=None, timeout=10)) as other:
        other.execute("begin immediate")  # from here on the coordinator writes nothing
        await until(lambda: reads_events(agent), seconds=20)
        async with stage.crashed():
            other.execute("rollback")
            assert [event["event"] for event in stage.recorded()[turn_id]] == ["turn.accepted", "lane.sent"]
    await is_unknown(stage, agent, turn_id)


def reads_events(agent: MockAgent) -> bool:
    """Whether somebody knows the id of a run."""
    return any(request.path.endswith("/events") for request in agent.requests)


async def is_unknown(stage: CrashStage, agent: MockAgent, turn_id: str) -> None:
    """The turn is told as one that may have run, to whoever asks, and was not sent again."""
    told = await stage.ended(turn_id)
    assert (told["state"], told["code"], told["started"]) == ("interrupted", "peer_outcome_unknown", "unknown")
    again = await stage.begin("nas", (await asked(agent)), headers=KEY)
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, turn_id, "interrupted")
    assert [(event["event"]) for event in await stage.events(turn_id)][-1] == "turn.interrupted"
    assert len(agent.turns) == 1


async def asked(agent: MockAgent) -> str:
    return agent.turns[0].text


async def test_killed_before_it_was_sent_a_turn_started_nothing(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs", max_turns=1)
    await stage.start()
    running = (await stage.begin("nas", "!!delay=0.05 !!repeat=60 first")).json()["id"]
    await until(lambda: len(agent.turns) == 1, seconds=10)
    waiting = (await stage.begin("nas", "second")).json()["id"]
    async with stage.crashed():
        pass
    told = await stage.ended(waiting)
    assert (told["state"], told["code"], told["started"]) == ("interrupted", "peer_unavailable", "no")
    assert (await stage.ended(running))["state"] == "done"
    assert len(agent.turns) == 1


async def test_a_key_joins_the_run_that_goes_on_after_a_crash(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    body = question("nas", "!!delay=0.1 !!repeat=100 tick", stream=True)
    headers = {**KEY, "x-switchboard-on-disconnect": "detach"}
    async with stage.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        await anext(answer.aiter_bytes())
    async with stage.crashed():
        assert agent.turns[0].state == "running"
    told = await heard(await stage.client.post("/v1/chat/completions", json=body, headers=headers, timeout=60))
    assert told.headers["x-switchboard-turn"] == answer.headers["x-switchboard-turn"]
    assert told.is_whole
    assert told.text == "[nas] echo: " + " ".join(["tick"] * 100)
    assert [turn.state for turn in agent.turns] == ["finished"]


async def test_an_approval_that_was_asked_for_before_a_crash_is_given_after_it(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!approve=make hello")).json()["id"]
    await until(lambda: waits(stage, turn_id), seconds=10)
    async with stage.crashed():
        pass
    await until(lambda: waits(stage, turn_id), seconds=10)
    approval = (await stage.turn(turn_id))["lanes"][0]["approvals"][0]["approval"]
    answer = await stage.client.post(f"/api/turns/{turn_id}/approvals/{approval}", json={"choice": "once"})
    assert answer.status_code == 200
    assert (await stage.ended(turn_id))["state"] == "done"
    assert [turn.state for turn in agent.turns] == ["finished"]


async def waits(stage: CrashStage, turn_id: str) -> bool:
    return bool((await stage.turn(turn_id))["lanes"][0]["approvals"])


async def test_a_run_can_be_cancelled_after_a_crash(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!silence=600 hello")).json()["id"]
    await until(lambda: reads_events(agent), seconds=10)
    async with stage.crashed():
        pass
    assert (await stage.client.post(f"/api/turns/{turn_id}/cancel")).status_code == 200
    assert (await stage.ended(turn_id))["state"] == "cancelled"
    assert [turn.state for turn in agent.turns] == ["stopped"]


async def test_a_run_whose_agent_forgot_it_is_an_unknown_outcome(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!silence=600 hello")).json()["id"]
    await until(lambda: reads_events(agent), seconds=10)
    async with stage.crashed():
        await agent.__aexit__()
        await agent.__aenter__()
    told = await stage.ended(turn_id)
    assert (told["state"], told["code"]) == ("interrupted", "peer_outcome_unknown")
    assert len(agent.turns) == 1


async def test_a_run_outlives_a_coordinator_that_is_told_to_end(stage: CrashStage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start(drain_seconds=0.5)
    turn_id = (await stage.begin("nas", "!!delay=0.05 !!repeat=100 tick")).json()["id"]
    await until(lambda: reads_events(agent), seconds=10)
    async with stage.stopped():
        assert agent.turns[0].state == "running"
    told = await stage.ended(turn_id)
    assert (told["state"], told["lanes"][0]["text"]) == ("done", "[nas] echo: " + " ".join(["tick"] * 100))
    assert len(agent.turns) == 1
