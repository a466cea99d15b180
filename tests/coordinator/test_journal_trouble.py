"""The coordinator while its journal cannot be written: what runs goes on, nothing new begins, and it recovers."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from coordinator.stage import Stage, heard
from switchboard_coordinator import database
from switchboard_coordinator.turns import journal
from waiting import until

LIMIT_PAGES = 300
RUNNING = "!!delay=0.05 !!repeat=30 tick"
REFUSED = "refused " * 2000
"""Too long for what is left of the last pages."""
SAID = "[nas] echo: " + " ".join(["tick"] * 30)


@contextmanager
def full(file: Path) -> Iterator[None]:
    """No page is left in this block."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute("create table filler (data blob)")
        other.execute("insert into filler values (zeroblob(?))", (LIMIT_PAGES * 4096 * 2,))
        try:
            yield
        finally:
            other.execute("drop table filler")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes in this block, and does not come to its end."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute("begin exclusive")
        try:
            yield
        finally:
            other.execute("rollback")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of little room, a short patience, and pages that are read each time."""
    more = (f"max_page_count={LIMIT_PAGES}", "busy_timeout=100", "cache_size=1")
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, *more))
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.1)


async def is_ready(stage: Stage) -> bool:
    return (await stage.client.get("/readyz")).status_code == 200


@pytest.mark.parametrize(("trouble", "word"), [(full, "full"), (locked, "locked")])
async def test_running_turns_come_to_their_end_new_ones_are_refused_and_it_recovers(
    stage: Stage, trouble: Callable[[Path], AbstractContextManager[None]], word: str
) -> None:
    agent = await stage.machine("nas", agent_turns=10)
    await stage.start()
    before = (await stage.ask("nas", "before")).headers["x-switchboard-turn"]
    streamed, whole = [asyncio.create_task(stage.ask("nas", RUNNING, stream=stream)) for stream in (True, False)]
    detached = (await stage.begin("nas", RUNNING)).json()["id"]
    await until(lambda: len(agent.turns) == 4, seconds=5)
    with trouble(stage.database_file):
        for stream in (True, False):
            refused = await stage.ask("nas", REFUSED, stream=stream, headers={"idempotency-key": f"k-{stream}"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "journal_unavailable")
            assert refused.headers["retry-after"] == "5"
        begun = await stage.begin("nas", REFUSED)
        assert (begun.status_code, begun.json()["code"]) == (503, "journal_unavailable")
        assert word in begun.json()["detail"]
        ready = await stage.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unready")
        assert word in ready.json()["journal"]
        assert (await stage.client.get("/healthz")).status_code == 200
        told = await heard(await streamed)
        assert (told.status, told.is_whole, told.text) == (200, True, SAID)
        assert (await whole).json()["choices"][0]["message"]["content"] == SAID
        ended = await stage.ended(detached)
        assert (ended["state"], ended["lanes"][0]["text"]) == ("done", SAID)
        assert (await stage.turn(before))["state"] == "done"
        events = await stage.events(detached)
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    await until(lambda: is_ready(stage), seconds=5)
    assert (await stage.ask("nas", REFUSED, headers={"idempotency-key": "k-False"})).status_code == 200
    assert (await stage.events(detached)) == events
    assert (await stage.turn(detached))["lanes"][0]["text"] == SAID
    assert sorted(turn.text for turn in agent.turns) == sorted(["before", *[RUNNING] * 3, REFUSED])
    rows = (await stage.client.get("/api/turns")).json()["turns"]
    assert {row["state"] for row in rows} <= {"done", "failed"}, "nothing stays open"


async def test_a_broken_database_is_told_and_what_runs_comes_to_its_end(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    asking = asyncio.create_task(stage.ask("nas", RUNNING, stream=True))
    await until(lambda: len(agent.turns) == 1, seconds=5)
    for file in (stage.database_file, stage.database_file.with_name(f"{stage.database_file.name}-wal")):
        with file.open("r+b") as raw:
            raw.write(b"\xa5" * file.stat().st_size)
    told = await heard(await asking)
    assert (told.is_whole, told.text) == (True, SAID)
    refused = await stage.ask("nas", REFUSED)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "journal_unavailable")
    assert not await is_ready(stage)
    for path in ("/api/turns", "/api/turns/turn_1", "/api/turns/turn_1/events"):
        answer = await stage.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "journal_unavailable")
    assert (await stage.client.get("/v1/models")).status_code == 200, "keys are still known"
    assert [turn.text for turn in agent.turns] == [RUNNING]
