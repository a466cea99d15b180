"""`switchboard backup` and `restore`, as a person types them: beside a coordinator that works, and where it stood."""

import asyncio
import fcntl
import io
import os
import pty
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from coordinator.stage import Stage
from switchboard_coordinator.command import backup
from switchboard_coordinator.database import migrate

PROGRAM = Path(sys.executable).parent / "switchboard"
TURNS = 5


class Shell:
    """Runs the command in a process of its own; `out` and `err` are what the last one wrote."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.out = b""
        self.err = ""

    async def run(self, *words: str | Path, given: bytes = b"") -> int | None:
        """The exit status."""
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *words,
            env=os.environ | {"SWITCHBOARD_COORDINATOR_DATABASE_FILE": str(self.database)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                self.out, err = await process.communicate(given)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        self.err = err.decode()
        return process.returncode


@pytest.fixture
def shell(stage: Stage) -> Shell:
    return Shell(stage.database_file)


async def asked(stage: Stage, *texts: str) -> list[str]:
    """Ids of turns that are over."""
    ids = []
    for text in texts:
        answer = await stage.ask("nas", text)
        ids.append(answer.headers["x-switchboard-turn"])
    return ids


async def working(stage: Stage) -> list[str]:
    """A coordinator that has answered some turns; gives their ids."""
    await stage.machine("nas")
    await stage.start()
    return await asked(stage, *(f"turn {number}" for number in range(TURNS)))


def turns_in(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {row[0] for row in connection.execute("select id from turns")}


def left_in(folder: Path) -> list[str]:
    """Names of copies and of what helped to make them."""
    return sorted(path.name for path in folder.glob("*copy*"))


async def test_a_copy_taken_while_turns_are_written_is_whole_and_a_coordinator_goes_on_from_it(
    stage: Stage, shell: Shell, tmp_path: Path
) -> None:
    before = await working(stage)
    copy = tmp_path / "copy.db"
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            assert (await stage.ask("nas", "!!repeat=50 more")).status_code == 200

    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(load()) for _ in range(4)]
        status = await shell.run("backup", copy)
        is_over.set()
    assert all(task.done() for task in loads)
    assert (status, shell.out) == (0, b"")
    assert shell.err.startswith("copied ")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert turns_in(copy) >= {*before}
    assert left_in(tmp_path) == ["copy.db"]

    after = await asked(stage, "one that the copy does not know")
    await stage.stop()
    assert await shell.run("restore", copy, "--replace") == 0, shell.err
    await stage.start()
    for turn in before:
        assert (await stage.turn(turn))["state"] == "done"
    assert (await stage.events(before[0]))[-1]["event"] == "turn.done"
    assert (await stage.client.get(f"/api/turns/{after[0]}")).status_code == 404
    assert (await stage.ask("nas", "and it goes on")).status_code == 200


async def test_a_turn_that_was_open_in_the_copy_is_told_as_interrupted(
    stage: Stage, shell: Shell, tmp_path: Path
) -> None:
    await stage.machine("nas")
    await stage.start()
    async with stage.stream("nas", "!!silence=60 x") as answer:
        turn = answer.headers["x-switchboard-turn"]
        assert await shell.run("backup", tmp_path / "copy.db") == 0
    await stage.stop()
    assert await shell.run("restore", tmp_path / "copy.db", "--replace") == 0
    await stage.start()
    assert (await stage.ended(turn))["state"] == "interrupted"


async def test_a_copy_goes_through_the_standard_streams(stage: Stage, shell: Shell) -> None:
    turns = await working(stage)
    assert await shell.run("backup", "-") == 0
    copy = shell.out
    assert copy.startswith(b"SQLite format 3\0")
    await stage.stop()
    stage.database_file.unlink()
    assert await shell.run("restore", "-", given=copy) == 0
    assert f"restored {TURNS} turns, the newest of " in shell.err
    assert stat.S_IMODE(stage.database_file.stat().st_mode) == 0o600
    assert turns_in(stage.database_file) == {*turns}
    assert left_in(stage.folder) == []


async def test_nothing_is_restored_under_a_coordinator_that_runs(stage: Stage, shell: Shell, tmp_path: Path) -> None:
    turns = await working(stage)
    assert await shell.run("backup", tmp_path / "copy.db") == 0
    assert await shell.run("restore", tmp_path / "copy.db", "--replace") == 1
    assert shell.err == (
        f"switchboard: {stage.database_file} is in use (database is locked): stop the coordinator first\n"
    )
    turns += await asked(stage, "it goes on")
    assert turns_in(stage.database_file) == {*turns}


async def test_turns_are_given_up_only_where_that_is_said(stage: Stage, shell: Shell, tmp_path: Path) -> None:
    turns = await working(stage)
    assert await shell.run("backup", tmp_path / "copy.db") == 0
    await stage.stop()
    with closing(sqlite3.connect(stage.database_file)) as connection:
        connection.execute("delete from turns where id = ?", (turns[0],))
        connection.commit()
    assert await shell.run("restore", tmp_path / "copy.db") == 1
    assert f"holds {TURNS - 1} turns, which would be lost" in shell.err
    assert turns_in(stage.database_file) == {*turns[1:]}


def refused_to_copy(database: Path, file: Path) -> str:
    with pytest.raises(backup.CopyRefused) as caught:
        backup.copy_to_file(database, file)
    return str(caught.value)


def refused_to_restore(copy: Path, database: Path) -> str:
    before = database.read_bytes() if database.exists() else None
    with pytest.raises(backup.CopyRefused) as caught:
        backup.restore_file(copy, database, replaces=True)
    assert (database.read_bytes() if database.exists() else None) == before
    return str(caught.value)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "switchboard.db"
    migrate(file)
    return file


@pytest.fixture
def copy(database: Path, tmp_path: Path) -> Path:
    file = tmp_path / "copy.db"
    backup.copy_to_file(database, file)
    return file


def test_a_copy_is_never_written_over_another_file(database: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("yesterday's")
    assert (
        refused_to_copy(database, tmp_path / "copy.db")
        == f"{tmp_path}/copy.db is there already: nothing is overwritten"
    )
    assert (tmp_path / "copy.db").read_text() == "yesterday's"


def test_what_a_killed_copy_left_is_removed_by_the_next(database: Path, tmp_path: Path) -> None:
    (tmp_path / ".switchboard-copy").write_text("half a copy")
    backup.copy_to_file(database, tmp_path / "copy.db")
    assert left_in(tmp_path) == ["copy.db"]


def test_two_copies_into_one_folder_wait_for_nobody(database: Path, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    told = refused_to_copy(database, tmp_path / "copy.db")
    os.close(folder)
    assert told == f"another copy is being made in {tmp_path}: wait for its end"


def test_what_comes_in_a_stream_is_checked_too(database: Path, tmp_path: Path) -> None:
    with pytest.raises(backup.CopyRefused) as caught:
        backup.restore_stream(io.BytesIO(b"no such file" * 100), database, replaces=True)
    assert str(caught.value) == "what came is no database of a coordinator: file is not a database"
    assert left_in(tmp_path) == []


def test_a_copy_that_nobody_takes_is_told(database: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(backup.CopyRefused) as caught:
        backup.copy_to_stream(database, full)
    assert str(caught.value) == f"the copy of {database} did not get out: No space left on device"
    assert left_in(tmp_path) == []


def test_a_terminal_gets_no_database(database: Path) -> None:
    ours, theirs = pty.openpty()
    run = subprocess.run(
        [PROGRAM, "backup", "-", "--database", database], stdout=theirs, stderr=subprocess.PIPE, timeout=30
    )
    os.close(theirs)
    os.close(ours)
    assert run.returncode == 2
    assert run.stderr == b"switchboard: a database is nothing to read: send it into a file, or name one\n"


def test_a_missing_database_is_told_and_not_made(tmp_path: Path) -> None:
    told = refused_to_copy(tmp_path / "none.db", tmp_path / "copy.db")
    assert told == f"there is no database {tmp_path}/none.db: name it with --database"
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_missing_is_told(database: Path, copy: Path, tmp_path: Path) -> None:
    told = refused_to_copy(database, tmp_path / "no" / "copy.db")
    assert told == f"{tmp_path}/no/copy.db cannot be written: No such file or directory"
    assert "is no folder" in refused_to_restore(copy, tmp_path / "no" / "switchboard.db")
    assert "there is no copy" in refused_to_restore(tmp_path / "none.db", database)


def test_a_damaged_database_gives_no_copy(database: Path, tmp_path: Path) -> None:
    with database.open("rb+") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert "switchboard.db" in refused_to_copy(database, tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()


def test_a_damaged_copy_is_not_restored(database: Path, copy: Path) -> None:
    with copy.open("rb+") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert f"{copy} is" in refused_to_restore(copy, database)


def test_a_copy_that_is_damaged_where_nobody_looked_is_not_restored(database: Path, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("pragma writable_schema=on")
        connection.execute("delete from sqlite_master where name = 'turns_ended'")
        connection.commit()
    assert refused_to_restore(copy, database).startswith(f"{copy} is damaged: ")


def test_half_a_copy_is_not_restored(database: Path, copy: Path) -> None:
    os.truncate(copy, copy.stat().st_size // 2)
    assert f"{copy} is" in refused_to_restore(copy, database)


def test_what_is_no_database_of_ours_is_not_restored(database: Path, tmp_path: Path) -> None:
    letter, other = tmp_path / "letter", tmp_path / "other.db"
    letter.write_text("a letter" * 500)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("create table turns (id)")
    for file in (letter, other):
        assert refused_to_restore(file, database).startswith(f"{file} is no database of a coordinator: ")


def of_revision(file: Path, revision: str, usable_from: int) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
        connection.execute(f"pragma user_version = {usable_from}")
        connection.commit()


def test_the_copy_of_a_newer_version_is_not_restored(database: Path, copy: Path) -> None:
    of_revision(copy, "9999", usable_from=9999)
    assert refused_to_restore(copy, database).startswith(f"{copy} belongs to a newer version of Switchboard")


def test_what_a_newer_version_left_usable_is_copied_and_restored(database: Path, tmp_path: Path) -> None:
    of_revision(database, "9999", usable_from=1)
    backup.copy_to_file(database, tmp_path / "copy.db")
    backup.restore_file(tmp_path / "copy.db", database, replaces=True)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma user_version").fetchone() == (1,)


def test_a_database_that_is_none_any_more_is_left_to_a_person(copy: Path, tmp_path: Path) -> None:
    database = tmp_path / "broken.db"
    database.write_text("zeros and ones" * 500)
    assert "is damaged (file is not a database): move it" in refused_to_restore(copy, database)


def test_a_copy_that_somebody_writes_to_is_not_waited_for(
    database: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("begin exclusive")
        with pytest.raises(backup.CopyRefused):
            backup.restore_file(copy, database, replaces=True)


def test_a_restore_that_is_cut_off_leaves_the_old_database(database: Path, copy: Path) -> None:
    """In a child that dies in the middle of the pages."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("insert into sessions values ('me', 's', 'nas', '{}', 1.0)")
        connection.commit()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            target = backup._held(database)
            with closing(sqlite3.connect(copy)) as source:
                source.backup(target, pages=2, progress=lambda *_: os._exit(17))
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 17
    migrate(database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select count(*) from sessions").fetchone() == (1,)
