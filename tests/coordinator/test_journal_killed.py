"""A journal whose process is killed at any moment: what it said was written is there, and nothing is half there."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest
from chance import as_many, seeded
from switchboard_coordinator.database import open_database
from switchboard_coordinator.turn import Event, Turn, folded
from switchboard_coordinator.turns.journal import Journal

TURNS = 12
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Written:
    """A turn that tells the parent what is written of it, as soon as it knows."""

    def __init__(self, turn_id: str, journal: Journal, pipe: int) -> None:
        self.id = turn_id
        self.turn = Turn()
        self._journal = journal
        self._pipe = pipe

    def committed(self, last_id: int) -> None:
        os.write(self._pipe, f"{json.dumps([self.id, last_id])}\n".encode())

    def note(self, name: str, lane: int | None = None, **data: object) -> None:
        event = Event(self.turn.last_id + 1, name, time.time(), lane, data)
        self.turn.apply(event)
        self._journal.write(self, event)

    async def live(self, random: Random) -> None:
        """One turn of two lanes, to its end."""
        row = {"id": self.id, "consumer": "me", "state": "queued", "target": "x", "policy": "cancel", "restarts": 0}
        row |= {"transport": "chat", "session": None, "key": None, "digest": None, "question": b"[]"}
        self._journal.open({**row, "created_at": time.time(), "ended_at": None})
        lanes = ["default@nas", "default@tower"]
        self.note("turn.accepted", lanes=lanes, transports=["chat", "chat"])
        for lane in (0, 1):
            self.note("lane.sent", lane, address=lanes[lane])
        await self._journal.commit(self)
        for number in range(random.randint(0, 60)):
            self.note("lane.text", random.randint(0, 1), text=f"{number} " * random.randint(1, 300))
            await asyncio.sleep(random.random() * 0.004)
        for lane in (0, 1):
            self.note("lane.done", lane)
            if random.random() < 0.5:
                await self._journal.commit(self)
        self.note("turn.done")
        self._journal.close(self, "done", time.time())
        await self._journal.commit(self)


async def run(file: Path, random: Random, pipe: int, first: int) -> None:
    """Turns side by side, without end."""
    engine = open_database(file)
    journal = Journal(engine)
    async with asyncio.TaskGroup() as group:
        group.create_task(journal.keep())
        for lane in range(TURNS):
            group.create_task(one_after_the_other(journal, random, pipe, f"{first:03}_{lane:02}"))


async def one_after_the_other(journal: Journal, random: Random, pipe: int, name: str) -> None:
    number = 0
    while True:
        await Written(f"turn_{name}_{number:06}", journal, pipe).live(random)
        number += 1


def killed_child(file: Path, random: Random, first: int) -> dict[str, int]:
    """Let a process write, kill it, and give what it said was written: turn → event."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(run(file, random, writing, first))
        finally:
            os._exit(1)
    os.close(writing)
    said: dict[str, int] = {}
    with os.fdopen(reading) as told:
        line = told.readline()  # it has begun to write
        time.sleep(random.random() * 0.15)  # the moment of its death
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for each in (line, *told):
            if each.endswith("\n"):
                turn_id, last = json.loads(each)
                said[turn_id] = last
    return said


def test_what_was_written_survives_a_process_that_is_killed(tmp_path: Path) -> None:
    random = seeded()
    file = tmp_path / "switchboard.db"
    said: dict[str, int] = {}
    for kill in range(as_many(15, 300)):
        said |= killed_child(file, random, kill)
    ended, opened, events = asyncio.run(looked_through(file, said))
    print(f"{opened} turns, {ended} ended, {events} events")
    assert opened > ended > 0


async def looked_through(file: Path, said: dict[str, int]) -> tuple[int, int, int]:
    """Turns that ended, all turns, all events."""
    engine = open_database(file)
    journal = Journal(engine)
    rows = {row.id: row for row in await journal.rows(None, limit=1_000_000)}
    assert said.keys() <= rows.keys()
    count = ended = 0
    for turn_id, row in rows.items():
        events = await journal.events(turn_id, 0)
        turn = folded(events)  # raises where one is missing or there twice
        assert turn.last_id >= said.get(turn_id, 0)
        assert turn.last_id >= 1, "a turn is written with its first event"
        assert turn.is_over == (row.ended_at is not None), "and with its last one it is over"
        assert not turn.is_over or row.state == turn.state
        count += len(events)
        ended += turn.is_over
    await engine.dispose()
    return ended, len(rows), count
