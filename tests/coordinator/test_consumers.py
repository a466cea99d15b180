"""Who may ask, as the database has it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import LogCapture
from switchboard_coordinator.database import open_blocking, open_database
from switchboard_coordinator.keys import consumers as consumers_module
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.consumers import Consumer, Consumers
from switchboard_coordinator.keys.keys import Grant, digest_of
from switchboard_coordinator.keys.scopes import ASKING, EVERYTHING, Scopes
from waiting import until


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "switchboard.db"


@pytest.fixture
async def engine(database: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database)
    yield engine
    await engine.dispose()


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


@asynccontextmanager
async def kept(consumers: Consumers, engine: AsyncEngine) -> AsyncIterator[None]:
    """Following the database in this block."""
    await consumers.open(engine)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(consumers.keep(engine))
        yield
        keeping.cancel()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers_module, "LOOK_SECONDS", 0.02)


def give(database: Path, name: str, key: str, grant: Grant | None = None) -> None:
    """What `switchboard keys add` does."""
    engine = open_blocking(database)
    with engine.begin() as connection:
        keys.add(connection, name, grant or Grant(ASKING), key, actor="uid:0", now=time.time())
    engine.dispose()


def seeds(*names: str) -> dict[str, str]:
    return {digest_of(f"sk-{name}".encode()): name for name in names}


def named(consumers: Consumers, key: str) -> str | None:
    consumer = consumers.who(f"Bearer {key}".encode())
    return consumer.name if consumer else None


def test_without_a_database_whoever_was_named_counts_for_everything() -> None:
    assert Consumers(seeds("me")).who(b"Bearer sk-me") == Consumer("me", EVERYTHING)
    assert Consumers(seeds("me"), ASKING).who(b"Bearer sk-me") == Consumer("me", ASKING)


async def test_the_database_tells_what_a_key_is_good_for(database: Path, engine: AsyncEngine) -> None:
    grant = Grant(Scopes.parse(["any@gpu"]), "follow", 5, time.time() + 3600)
    give(database, "me", "sk-me", grant)
    consumers = Consumers({})
    assert consumers.who(b"Bearer sk-me") is None
    await consumers.open(engine)
    found = consumers.who(b"Bearer sk-me")
    assert found is not None
    assert found.key_id.startswith("key_")
    assert found == Consumer("me", grant.scopes, found.key_id, "follow", 5, grant.expires_at)


async def test_names_never_seen_are_taken_into_the_database(engine: AsyncEngine) -> None:
    await Consumers(seeds("me", "you"), ASKING).open(engine)
    later = Consumers({})
    await later.open(engine)
    assert [named(later, key) for key in ("sk-me", "sk-you", "sk-he")] == ["me", "you", None]


@pytest.mark.usefixtures("hasty")
async def test_what_was_revoked_stays_revoked_though_the_file_still_names_it(
    engine: AsyncEngine, log: LogCapture
) -> None:
    await Consumers(seeds("me", "you")).open(engine)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: keys.revoke(sync, "me", actor="uid:0", now=time.time()))
    consumers = Consumers(seeds("me", "you"))
    async with kept(consumers, engine):
        assert named(consumers, "sk-me") is None
        assert named(consumers, "sk-you") == "you"
    assert log.entries == []


async def test_a_line_that_the_database_contradicts_is_told(engine: AsyncEngine, log: LogCapture) -> None:
    await Consumers(seeds("me")).open(engine)
    consumers = Consumers({digest_of(b"sk-new"): "me"})
    await consumers.open(engine)
    assert [named(consumers, key) for key in ("sk-me", "sk-new")] == ["me", None]
    assert [(entry["event"], entry["consumer"]) for entry in log.entries] == [("consumers_line_ignored", "me")]


async def test_a_coordinator_that_nobody_may_ask_says_so(engine: AsyncEngine, log: LogCapture) -> None:
    await Consumers({}).open(engine)
    assert [(entry["event"], entry["remedy"]) for entry in log.entries] == [("no_keys", "switchboard keys add NAME")]


@pytest.mark.usefixtures("hasty")
async def test_keep_opens_what_is_not_open_yet(engine: AsyncEngine) -> None:
    consumers = Consumers(seeds("me"))
    keeping = asyncio.create_task(consumers.keep(engine))
    try:
        await until(lambda: named(consumers, "sk-me") == "me", seconds=5)
        found = consumers.who(b"Bearer sk-me")
        assert found is not None
        await until(lambda: bool((consumers.who(b"Bearer sk-me") or found).key_id), seconds=5)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_an_expired_key_ends_at_its_second_without_a_look(database: Path, engine: AsyncEngine) -> None:
    now = time.time()
    give(database, "me", "sk-me", Grant(ASKING, expires_at=now + 100))
    consumers = Consumers({}, clock=lambda: now)
    await consumers.open(engine)
    assert named(consumers, "sk-me") == "me"
    now += 99.9
    assert named(consumers, "sk-me") == "me"
    now += 0.1
    assert named(consumers, "sk-me") is None
    assert consumers.stranger(b"Bearer sk-me") == ("me", "key_expired", "this key has expired")


async def test_a_stranger_is_told_what_is_wrong_with_the_key(engine: AsyncEngine) -> None:
    consumers = Consumers(seeds("me"))
    await consumers.open(engine)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: keys.revoke(sync, "me", actor="uid:0", now=time.time()))
    consumers = Consumers({})
    await consumers.open(engine)
    assert consumers.stranger(b"Bearer sk-me") == ("me", "key_revoked", "this key was revoked")
    assert consumers.stranger(b"Bearer sk-other")[:2] == ("", "invalid_api_key")
    for nothing in (None, b"", b"Bearer", b"Bearer "):
        assert consumers.stranger(nothing)[:2] == ("", "no_key")


@pytest.mark.usefixtures("hasty")
async def test_while_the_database_cannot_be_read_whoever_was_let_in_stays(engine: AsyncEngine, log: LogCapture) -> None:
    consumers = Consumers(seeds("me"))
    async with kept(consumers, engine):
        async with engine.begin() as connection:
            await connection.execute(text("alter table keys rename to away"))
        await until(lambda: any(entry["event"] == "keys_unreadable" for entry in log.entries), seconds=5)
        assert named(consumers, "sk-me") == "me"
        async with engine.begin() as connection:
            await connection.execute(text("update away set revoked_at = 1"))
            await connection.execute(text("alter table away rename to keys"))
        await until(lambda: named(consumers, "sk-me") is None, seconds=5)
    assert [entry["event"] for entry in log.entries] == ["keys_unreadable"]


@pytest.mark.usefixtures("hasty")
async def test_following_ends_cleanly_at_any_moment(engine: AsyncEngine) -> None:
    consumers = Consumers(seeds("me"))
    await consumers.open(engine)
    for pause_ms in range(50):
        keeping = asyncio.create_task(consumers.keep(engine))
        await asyncio.sleep(pause_ms / 1000)
        keeping.cancel()
        assert isinstance((await asyncio.gather(keeping, return_exceptions=True))[0], asyncio.CancelledError)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of the pool of files
