"""The journal: groups, what is told to whom and when, trouble and the way out of it, what is deleted with age."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine
from switchboard_coordinator import database
from switchboard_coordinator.database import open_database
from switchboard_coordinator.errors import JournalUnavailable
from switchboard_coordinator.turn import Event
from switchboard_coordinator.turns import journal
from switchboard_coordinator.turns import writing as writing_thread
from switchboard_coordinator.turns.journal import Journal
from waiting import until

FILLER = 400 * 4096


class Follower:
    """A turn, as the journal sees it."""

    def __init__(self, turn_id: str, journal: Journal) -> None:
        self.id = turn_id
        self.last = self.shown = 0
        self._journal = journal

    def committed(self, last_id: int) -> None:
        assert last_id > self.shown
        self.shown = last_id

    def open(self, **more: Any) -> None:
        row: dict[str, Any] = {"id": self.id, "consumer": "me", "state": "queued", "target": "nas", "policy": "cancel"}
        row |= {"transport": "chat", "session": None, "key": None, "digest": None, "question": b"[]", "restarts": 0}
        self._journal.open({**row, "created_at": time.time(), "ended_at": None, **more})
        self.note("turn.accepted", to="nas")

    def note(self, name: str, lane: int | None = None, **data: Any) -> None:
        self.last += 1
        self._journal.write(self, Event(self.last, name, 7.0, lane, data))

    def say(self, text: str) -> None:
        self.note("lane.text", 0, text=text)

    async def end(self, at: float | None = None) -> bool:
        self.note("turn.done")
        self._journal.close(self, "done", time.time() if at is None else at)
        return await self.written()

    async def written(self) -> bool:
        return await self._journal.commit(self)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_database(tmp_path / "switchboard.db")
    yield engine
    await engine.dispose()


@asynccontextmanager
async def writing(engine: AsyncEngine, **settings: Any) -> AsyncIterator[Journal]:
    """A journal that writes in this block, and has written all at its end."""
    kept = Journal(engine, **settings)
    task = asyncio.create_task(kept.keep())
    try:
        yield kept
    finally:
        kept.end()
        async with asyncio.timeout(10):
            await task


async def test_what_is_written_is_read_again_from_any_point(engine: AsyncEngine) -> None:
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        turn.say("he")
        assert await turn.written()
        turn.say("llo")
        assert await turn.end()
        told = await kept.events("turn_1", 0)
        assert [(event.id, event.name, event.data.get("text")) for event in told] == [
            (1, "turn.accepted", None),
            (2, "lane.text", "he"),
            (3, "lane.text", "llo"),
            (4, "turn.done", None),
        ]
        for after in range(6):
            assert await kept.events("turn_1", after) == told[after:]
        row = await kept.row("turn_1")
        assert row is not None
        assert row.state == "done"
        assert await kept.row("turn_2") is None


async def test_turns_that_wait_at_once_share_a_transaction(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write = Journal._write

    async def counted(self: Journal, connection: Any, group: Any) -> None:
        groups.append(len(group.opened))
        await write(self, connection, group)

    monkeypatch.setattr(Journal, "_write", counted)
    async with writing(engine) as kept:
        turns = [Follower(f"turn_{number}", kept) for number in range(100)]

        async def live(turn: Follower) -> None:
            turn.open()
            assert await turn.written()
            assert turn.shown == 1

        await asyncio.gather(*map(live, turns))
    assert sum(groups) == 100
    assert len([count for count in groups if count]) <= 3


async def test_text_is_written_by_itself_within_its_time(engine: AsyncEngine) -> None:
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        turn.say("hello")
        await until(lambda: turn.shown == 2, seconds=10 * journal.TEXT_SECONDS)
    assert journal.TEXT_SECONDS <= 0.25


async def test_what_is_queued_when_the_process_ends_is_written(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal._write

    async def slowly(self: Journal, connection: Any, group: Any) -> None:
        await asyncio.sleep(0.05)  # so that a group is on its way when the end comes
        await write(self, connection, group)

    monkeypatch.setattr(Journal, "_write", slowly)
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        waiting = asyncio.create_task(turn.written())
        await asyncio.sleep(0.01)
        for number in range(200):
            turn.say(str(number))
    assert await waiting
    assert [event.id for event in await kept.events("turn_1", 0)] == list(range(1, 202))


@contextmanager
def full(file: Path) -> Iterator[None]:
    """No page is left in this block: `limited` set the limit."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("create table filler (data blob)")
        other.execute("insert into filler values (zeroblob(?))", (FILLER,))
        limit = other.execute("pragma page_count").fetchone()[0]
        assert limit > LIMIT_PAGES, "what fills it is larger than what fits"
        yield
        other.execute("drop table filler")


LIMIT_PAGES = 300


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Somebody else writes in this block, for ever."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin exclusive")
        yield
        other.execute("rollback")


@pytest.fixture
async def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Path, AsyncEngine]]:
    """A database that is as small as a full disk, and gives up on a lock after a short time."""
    file = tmp_path / "switchboard.db"
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, f"max_page_count={LIMIT_PAGES}", "busy_timeout=50"))
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.05)
    engine = open_database(file)
    yield file, engine
    await engine.dispose()


TROUBLES = pytest.mark.parametrize(("trouble", "words"), [(full, "full"), (locked, "locked")])


@TROUBLES
async def test_what_could_not_be_written_is_written_when_the_trouble_is_over(
    limited: tuple[Path, AsyncEngine], trouble: Callable[[Path], Any], words: str
) -> None:
    file, engine = limited
    async with writing(engine) as kept:
        turn, other = Follower("turn_1", kept), Follower("turn_2", kept)
        turn.open()
        assert await turn.written()
        with trouble(file):
            turn.say("a" * 50_000)
            assert not await turn.written()
            assert kept.trouble is not None
            assert words in kept.trouble
            other.open(key="k", digest=b"d")
            turn.say("b")
            assert not await turn.end()
            assert turn.shown == 1
            assert [event.id for event in await kept.events("turn_1", 0)] == [1]
        await until(lambda: kept.trouble is None, seconds=5)
        assert (turn.shown, other.shown) == (4, 1)
    told = await kept.events("turn_1", 0)
    assert [event.data.get("text") for event in told] == [None, "a" * 50_000, "b", None]
    assert [event.name for event in await kept.events("turn_2", 0)] == ["turn.accepted"]


async def test_trouble_with_nothing_to_write_is_over_when_it_is_over(limited: tuple[Path, AsyncEngine]) -> None:
    file, engine = limited
    async with writing(engine) as kept:
        nobody = Follower("turn_0", kept)
        await nobody.written()
        kept.trouble = "as after a connect that failed"
        with locked(file):
            assert not await nobody.written()
            assert "locked" in kept.trouble
        await until(lambda: kept.trouble is None, seconds=5)


async def test_a_turn_refused_for_the_journals_sake_leaves_its_key_free(limited: tuple[Path, AsyncEngine]) -> None:
    file, engine = limited
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        with locked(file):
            turn.open(key="k", digest=b"d")
            assert not await turn.written()
            turn.note("turn.failed")
            kept.close(turn, "failed", time.time(), keeps_key=False)
            assert not await turn.written()
        await until(lambda: kept.trouble is None, seconds=5)
        assert await kept.keyed("me", "k") is None
        row = await kept.row("turn_1")
        assert row is not None
        assert row.state == "failed"


async def test_memory_is_spared_while_nothing_can_be_written_and_no_event_is_missing_after(
    limited: tuple[Path, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, engine = limited
    monkeypatch.setattr(journal, "HELD_BYTES", 10_000)
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        assert await turn.written()
        with locked(file):
            turn.say("x")
            assert not await turn.written()
            for _ in range(100):
                turn.say("y" * 1000)
        assert await turn.end() or await is_over(kept, turn)
    told = await kept.events("turn_1", 0)
    assert [event.id for event in told] == list(range(1, 104))
    texts = "".join(event.data["text"] for event in told if event.name == "lane.text")
    assert 5_000 < len(texts) < 10_000


async def is_over(kept: Journal, turn: Follower) -> bool:
    """The trouble; then what was queued is written."""
    await until(lambda: kept.trouble is None, seconds=5)
    return await turn.written()


async def test_a_database_that_is_broken_is_told_and_breaks_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "switchboard.db"
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "cache_size=1"))  # pages are read, not remembered
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.05)
    engine = open_database(file)
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        for _ in range(50):
            turn.say("x" * 4000)
            assert await turn.written()
        broken(file)
        turn.say("y")
        assert not await turn.written()
        assert kept.trouble is not None
        with pytest.raises(JournalUnavailable, match="the journal cannot be read now"):
            await kept.events("turn_1", 0)
        with pytest.raises(JournalUnavailable, match="the journal cannot be written now"):
            await kept.forget_key("turn_1")
        assert not await turn.end()
    await engine.dispose()


def broken(file: Path) -> None:
    """Overwrite the database and its log."""
    for each in (file, file.with_name(f"{file.name}-wal")):
        with each.open("r+b") as raw:
            raw.write(b"\xa5" * each.stat().st_size)


async def test_turns_that_ended_long_ago_are_deleted_and_open_ones_are_not(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_thread, "PRUNED_TURNS", 3)
    now = time.time()
    async with writing(engine, days=1) as kept:
        for number in range(10):
            turn = Follower(f"turn_old_{number}", kept)
            turn.open()
            await turn.end(now - 90_000 - number)
        new = Follower("turn_new", kept)
        new.open()
        await new.end(now - 80_000)
        waiting = Follower("turn_open", kept)
        waiting.open(created_at=now - 1e6)
        assert await waiting.written()
    async with writing(engine, days=1) as kept:
        await Follower("turn_0", kept).written()
        await until(lambda: has_turns(kept, 2), seconds=5)
        assert {row.id for row in await kept.rows(None)} == {"turn_new", "turn_open"}
    assert await rows(engine, "entries") == 2


async def test_the_oldest_turns_are_deleted_while_there_is_too_much(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_thread, "PRUNED_TURNS", 3)
    now = time.time()
    async with writing(engine) as kept:
        for number in range(40):
            turn = Follower(f"turn_{number:02}", kept)
            turn.open()
            turn.say("x" * 100_000)
            await turn.end(now - 1000 + number)
        waiting = Follower("turn_open", kept)
        waiting.open()
        waiting.say("x" * 100_000)
        assert await waiting.written()
    async with writing(engine, megabytes=1) as kept:
        await Follower("turn_0", kept).written()
        await until(lambda: has_turns(kept, 9, or_less=True), seconds=5)
        left = sorted(row.id for row in await kept.rows(None))
    assert len(left) >= 5
    assert left == sorted(["turn_open", *(f"turn_{number:02}" for number in range(41 - len(left), 40))])


async def has_turns(kept: Journal, count: int, *, or_less: bool = False) -> bool:
    there = await kept.count()
    return there == count or (or_less and there < count)


async def rows(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql(f"select count(*) from {table}")  # noqa: S608 - a name of ours
        return int(found.scalar_one())


async def test_pruning_that_fails_does_not_write_anything_twice(
    limited: tuple[Path, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = limited

    def fails(connection: Connection, _: object) -> int:
        connection.exec_driver_sql("select * from what_is_not_there")
        return 0

    monkeypatch.setattr(writing_thread, "_delete", fails)
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        assert await turn.written()
        turn.say("x")
        assert await turn.end()
        assert kept.trouble is None
    assert [event.id for event in await kept.events("turn_1", 0)] == [1, 2, 3]


async def test_without_text_a_journal_keeps_what_happened_and_when_alone(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    engine = open_database(file)
    async with writing(engine, keeps_text=False) as kept:
        turn = Follower("turn_1", kept)
        turn.open(question=b'[{"content":"a secret question"}]')
        turn.say("a secret answer")
        turn.note("lane.tool", 0, progress={"label": "a secret tool"})
        assert await turn.end()
        names = [event.name for event in await kept.events("turn_1", 0)]
    await engine.dispose()
    assert names == ["turn.accepted", "lane.text", "lane.tool", "turn.done"]
    assert b"secret" not in all_bytes(tmp_path)


def all_bytes(folder: Path) -> bytes:
    """Everything that stands in its files."""
    return b"".join(each.read_bytes() for each in folder.iterdir())


async def test_a_fault_of_ours_is_trouble_like_any_other_and_over_when_it_is_over(
    limited: tuple[Path, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine = limited
    write = writing_thread.write

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(writing_thread, "write", broken)
    async with writing(engine) as kept:
        turn = Follower("turn_1", kept)
        turn.open()
        assert not await turn.written()
        assert kept.trouble == "of ours"
        monkeypatch.setattr(writing_thread, "write", write)
        await until(lambda: kept.trouble is None, seconds=5)
        assert await kept.row("turn_1") is not None
