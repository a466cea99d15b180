"""The audit log: written later, by nobody who waits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import LogCapture
from switchboard_coordinator.database import BUSY_SECONDS, open_database
from switchboard_coordinator.keys import audit as audit_module
from switchboard_coordinator.keys.audit import HELD, SUBJECT_LENGTH, Audit
from waiting import until


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_database(tmp_path / "switchboard.db")
    yield engine
    await engine.dispose()


@pytest.fixture(autouse=True)
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "WRITE_SECONDS", 0.02)


@asynccontextmanager
async def kept(audit: Audit, engine: AsyncEngine) -> AsyncIterator[None]:
    """Written in this block; what is left is written at its end."""
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(audit.keep(engine))
        await asyncio.sleep(0)  # a task that is cancelled before its first step has no end to keep
        yield
        keeping.cancel()


async def written(audit: Audit) -> list[tuple[Any, ...]]:
    rows = await audit.page(before=None, limit=1000)
    return [(row["actor"], row["action"], row["subject"], row["outcome"], row["count"]) for row in reversed(rows)]


async def test_what_is_noted_is_written_a_moment_later_and_logged(engine: AsyncEngine, log: LogCapture) -> None:
    audit = Audit()
    async with kept(audit, engine):
        audit.note("me", "turn.cancel", "turn_1", request_id="req_1")

        async def is_written() -> bool:
            return bool(await written(audit))

        await until(is_written, seconds=5)
    (row,) = await audit.page(before=None, limit=10)
    assert row.pop("at") > 1_700_000_000
    assert row == {
        "id": 1,
        "actor": "me",
        "action": "turn.cancel",
        "subject": "turn_1",
        "outcome": "done",
        "request_id": "req_1",
        "count": 1,
    }
    (line,) = log.entries
    assert (line["event"], line["actor"], line["action"], line["count"]) == ("audit", "me", "turn.cancel", 1)


async def test_the_same_within_a_minute_is_one_row_more_with_its_count(engine: AsyncEngine, log: LogCapture) -> None:
    audit = Audit()
    async with kept(audit, engine):
        audit.note("", "authenticate", "100.64.0.9", "invalid_api_key")

        async def is_written() -> bool:
            return bool(await written(audit))

        await until(is_written, seconds=5)
        for _ in range(10_000):
            audit.note("", "authenticate", "100.64.0.9", "invalid_api_key")
        audit.note("", "authenticate", "100.64.0.10", "invalid_api_key")

        async def is_the_other_written() -> bool:
            return len(await written(audit)) > 1

        await until(is_the_other_written, seconds=5)
    assert await written(audit) == [
        ("", "authenticate", "100.64.0.9", "invalid_api_key", 1),
        ("", "authenticate", "100.64.0.10", "invalid_api_key", 1),
        ("", "authenticate", "100.64.0.9", "invalid_api_key", 10_000),
    ]
    assert [entry["count"] for entry in log.entries] == [1, 1, 10_000]


async def test_the_same_a_minute_later_is_written_again(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "SAME_SECONDS", 0.0)
    audit = Audit()
    async with kept(audit, engine):
        for count in (1, 2, 3):
            audit.note("me", "raw", "nas")

            async def are_written(count: int = count) -> bool:
                return len(await written(audit)) == count

            await until(are_written, seconds=5)
    assert [row[-1] for row in await written(audit)] == [1, 1, 1]


async def test_what_cannot_be_written_is_held_and_told_once_and_written_later(
    engine: AsyncEngine, log: LogCapture
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("alter table audit rename to away"))
    audit = Audit()
    async with kept(audit, engine):
        audit.note("me", "raw", "nas", request_id="first")
        await until(lambda: [entry["event"] for entry in log.entries] == ["audit", "audit_unwritten"], seconds=5)
        audit.note("me", "raw", "nas", request_id="second")
        await asyncio.sleep(audit_module.WRITE_SECONDS * 3)
        async with engine.begin() as connection:
            await connection.execute(text("alter table away rename to audit"))

        async def is_written() -> bool:
            return bool(await written(audit))

        await until(is_written, seconds=5)
    assert await written(audit) == [("me", "raw", "nas", "done", 2)]
    assert (await audit.page(before=None, limit=1))[0]["request_id"] == "first"
    assert [entry["event"] for entry in log.entries] == ["audit", "audit_unwritten"]


async def test_a_flood_of_different_things_is_dropped_and_the_drops_are_counted(engine: AsyncEngine) -> None:
    audit = Audit()
    for number in range(HELD + 500):
        audit.note("me", "raw", f"peer-{number}" + "x" * 1000)
    async with kept(audit, engine):
        pass
    rows = await written(audit)
    assert len(rows) == 1000  # a page's limit; the newest row is the count of what was dropped
    assert rows[-1] == ("", "audit.drop", "", "done", 500)
    assert {len(row[2]) for row in rows[:-1]} == {SUBJECT_LENGTH}


async def test_old_rows_make_room_for_new_ones(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "ROWS_KEPT", 3)
    audit = Audit()
    for number in range(10):
        audit.note("me", "raw", f"peer-{number}")
    async with kept(audit, engine):
        pass
    assert [row[2] for row in await written(audit)] == ["peer-7", "peer-8", "peer-9"]


async def test_pages_are_newest_first_and_hold_everything_once(engine: AsyncEngine) -> None:
    audit = Audit()
    for number in range(7):
        audit.note("me", "raw", f"peer-{number}")
    async with kept(audit, engine):
        pass
    seen: list[str] = []
    before = None
    while rows := await audit.page(before=before, limit=3):
        seen += [row["subject"] for row in rows]
        before = rows[-1]["id"]
    assert seen == [f"peer-{number}" for number in reversed(range(7))]


async def test_a_log_without_a_database_holds_a_bounded_number(log: LogCapture) -> None:
    audit = Audit()
    for number in range(3 * HELD):
        audit.note("me", "raw", f"peer-{number}")
    assert await audit.page(before=None, limit=10) == []
    assert log.entries == []


async def test_the_end_of_writing_waits_for_a_locked_database_only_so_long(engine: AsyncEngine) -> None:
    audit = Audit()
    audit.note("me", "raw", "nas")
    async with engine.connect() as other:
        await other.execute(text("begin immediate"))
        async with asyncio.timeout(10 * BUSY_SECONDS), kept(audit, engine):
            pass
        await other.rollback()
    assert await written(audit) == []
