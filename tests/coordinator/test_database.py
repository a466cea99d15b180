"""The database: made, brought up to date, or refused with a sentence."""

import asyncio
import sqlite3
import stat
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text
from switchboard_coordinator import tables
from switchboard_coordinator.database import DatabaseError, check, migrate, open_blocking, open_database

AUDITED = {"at": 1.0, "actor": "me", "action": "raw", "subject": "nas", "outcome": "done"}


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    engine = open_blocking(tmp_path / "switchboard.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_what_a_comparison_does_not_see_is_alike_too(tmp_path: Path) -> None:
    """Whether ids are given once, tables have no row id, and indexes have conditions: alembic compares none of them."""

    def schema(file: Path) -> dict[str, str]:
        engine = open_blocking(file)
        with engine.connect() as connection:
            rows = connection.execute(text("select name, sql from sqlite_master where sql is not null"))
            found = {row.name: " ".join(row.sql.replace('"', "").split()) for row in rows}
        engine.dispose()
        return {name: sql for name, sql in found.items() if name != "alembic_version"}

    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    engine = open_blocking(made)
    with engine.begin() as connection:
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
    engine.dispose()
    left, right = schema(migrated), schema(made)
    assert left.keys() == right.keys()
    for name in left:
        for words in ("WITHOUT ROWID", "AUTOINCREMENT", "UNIQUE", " WHERE "):
            assert left[name].count(words) == right[name].count(words), (name, words)


def test_a_database_is_made_for_nobody_else_and_in_wal_mode(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    engine = open_blocking(file)
    with engine.connect() as connection:
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
        assert connection.execute(text("pragma synchronous")).scalar() == 1
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    engine.dispose()


async def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    engine = open_blocking(file)
    with engine.begin() as connection:
        connection.execute(insert(tables.audit).values(AUDITED))
    engine.dispose()
    before = file.read_bytes()
    migrate(file)
    assert file.read_bytes() == before
    later = open_database(file)
    async with later.connect() as connection:
        assert len((await connection.execute(select(tables.audit))).all()) == 1
    await later.dispose()


async def test_several_processes_may_make_it_at_once(tmp_path: Path) -> None:
    script = f"""
import sys
import time
from pathlib import Path
from switchboard_coordinator.database import migrate
print("ready", flush=True)
sys.stdin.readline()
migrate(Path({str(tmp_path / "switchboard.db")!r}))
"""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(4)
    ]
    async with asyncio.timeout(60):
        for process in processes:
            assert process.stdout
            await process.stdout.readline()
        told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [(process.returncode, err) for process, (_, err) in zip(processes, told, strict=True)] == [(0, b"")] * 4


def test_who_makes_it_waits_for_who_writes_it_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "switchboard.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("create table theirs (x)")
        other.execute("begin immediate")
        monkeypatch.setattr(time, "sleep", lambda _: other.rollback())  # they have written when it has waited once
        migrate(file)
        assert not other.in_transaction


def test_a_migration_that_is_cut_off_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table turns (x)")
        connection.commit()
    assert "table turns already exists" in refused(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("turns",)]
        connection.execute("drop table turns")
    migrate(file)


def refused(file: Path) -> str:
    with pytest.raises(DatabaseError) as caught:
        open_blocking(file)
    with pytest.raises(DatabaseError) as again:
        open_database(file)
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    told = refused(tmp_path / "no" / "switchboard.db")
    assert told == f"{tmp_path}/no is no folder: make it, or set SWITCHBOARD_COORDINATOR_DATABASE_FILE"


def made_newer(file: Path, usable_from: int) -> None:
    """As a later version would leave it."""
    engine = open_blocking(file)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
        connection.exec_driver_sql(f"pragma user_version = {usable_from}")
    engine.dispose()


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} cannot be written: Is a directory"


def test_what_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    file.write_text("a letter, whatever its name" * 100)
    assert refused(file) == f"{file} cannot be used: file is not a database"
    assert file.read_text() == "a letter, whatever its name" * 100


def test_a_newer_schema_that_only_adds_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    made_newer(file, usable_from=0)
    engine = open_blocking(file)
    with engine.begin() as connection:
        assert connection.execute(text("select version_num from alembic_version")).scalar() == "9999"
        assert connection.execute(text("select count(*) from turns")).scalar() == 0
    engine.dispose()
    check(file)


def test_a_newer_schema_that_this_version_cannot_know_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "switchboard.db"
    made_newer(file, usable_from=9999)
    with pytest.raises(DatabaseError, match="newer version"):
        check(file)
    told = refused(file)
    assert told.startswith(f"{file} belongs to a newer version of Switchboard")
    assert "9999" in told
    with pytest.raises(DatabaseError):
        migrate(file)
