"""Copies of a coordinator's database: taken while it runs, put back while none does. Knows no command line."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from switchboard_coordinator.database import BUSY_SECONDS, is_usable

_SCRATCH = ".switchboard-copy"


class CopyRefused(Exception):
    """No copy was made, or nothing was restored; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds; times are seconds since 1970."""

    turns: int
    newest: float | None


def copy_to_file(database: Path, file: Path) -> Content:
    """Copy the database to a new file of mode 0600, which appears when it is whole and on the disk.

    Raises:
        CopyRefused: the file is there already, or the database cannot be copied.
    """
    with _told(f"{file} cannot be written"):
        if file.exists():
            raise CopyRefused(f"{file} is there already: nothing is overwritten")
        with _copied(database, file.parent) as (copy, content):
            os.link(copy, file)
            _to_disk(file.parent)
            return content


def copy_to_stream(database: Path, stream: IO[bytes]) -> Content:
    """The same into a stream, once the whole copy is checked; meanwhile it takes its place beside the database.

    Raises:
        CopyRefused: the database cannot be copied, or nobody takes the copy.
    """
    with _told(f"the copy of {database} did not get out"), _copied(database, database.parent) as (copy, content):
        with copy.open("rb") as source:
            shutil.copyfileobj(source, stream)
        stream.flush()
        return content


def restore_file(copy: Path, database: Path, *, replaces: bool) -> Content:
    """Put a copy in the place of the database, in one transaction: cut off at any moment, the old one is there.

    Raises:
        CopyRefused: the copy is damaged, none of ours or of a newer version; a coordinator holds the database; or that
            has turns and `replaces` does not say that they may go.
    """
    if not copy.is_file():
        raise CopyRefused(f"there is no copy {copy}")
    return _restored(copy, str(copy), database, replaces=replaces)


def restore_stream(stream: IO[bytes], database: Path, *, replaces: bool) -> Content:
    """The same from a stream.

    Raises:
        CopyRefused: see `restore_file`.
    """
    _must_be_folder(database)
    with _told(f"{database.parent} does not take the copy"), _scratch(database.parent) as copy:
        with copy.open("wb") as target:
            shutil.copyfileobj(stream, target)
        return _restored(copy, "what came", database, replaces=replaces)


def _restored(copy: Path, name: str, database: Path, *, replaces: bool) -> Content:
    with _told(f"{database} cannot be written"), closing(_opened(copy)) as source:
        source.execute("begin")  # what is checked is what is copied, and nobody keeps it from us meanwhile
        content = _checked(source, name)
        with closing(_held(database)) as target:
            lost = 0 if replaces else _turns(target)
            if lost:
                raise CopyRefused(f"{database} holds {lost} turns, which would be lost: back it up, then say --replace")
            source.backup(target)
        return content


@contextmanager
def _copied(database: Path, folder: Path) -> Iterator[tuple[Path, Content]]:
    """A whole and checked copy of one moment, in a file of the folder that is gone after the block."""
    if not database.is_file():
        raise CopyRefused(f"there is no database {database}: name it with --database")
    with _scratch(folder) as copy:
        try:
            with closing(_opened(database)) as source:
                # One read of one moment, beside whoever writes; and the copy needs no other file beside it.
                source.execute("vacuum into ?", (str(copy),))
        except sqlite3.Error as error:
            raise CopyRefused(f"{database} cannot be copied: {error}") from error
        with closing(_opened(copy)) as made:
            content = _checked(made, f"the copy of {database}")
        _to_disk(copy)
        yield copy, content


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty file for this process alone; what one that was killed left is removed."""
    file = folder / _SCRATCH
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CopyRefused(f"another copy is being made in {folder}: wait for its end") from None
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        try:
            yield file
        finally:
            file.unlink()
    finally:
        os.close(lock)


def _opened(file: Path) -> sqlite3.Connection:
    """A database that is there, in whichever mode its owner left it."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)


def _checked(copy: sqlite3.Connection, name: str) -> Content:
    """What the copy holds, after it was looked through."""
    try:
        found = [row[0] for row in copy.execute("pragma integrity_check(1)")]
        if found != ["ok"]:
            raise CopyRefused(f"{name} is damaged: {found[0]}")
        revision = copy.execute("select version_num from alembic_version").fetchone()
        (usable_from,) = copy.execute("pragma user_version").fetchone()
        if revision is None or not is_usable(revision[0], usable_from):
            raise CopyRefused(f"{name} belongs to a newer version of Switchboard, or to something else")
        return Content(*copy.execute("select count(*), max(created_at) from turns").fetchone())
    except sqlite3.DatabaseError as error:
        raise CopyRefused(f"{name} is no database of a coordinator: {error}") from error


def _held(database: Path) -> sqlite3.Connection:
    """The database, for this process alone until it is closed. Who holds it already is not put out."""
    _must_be_folder(database)
    database.touch(mode=0o600)
    connection = _opened(database)
    try:
        # Said before its first use this takes the file itself, which everyone holds who has it open, busy or not.
        connection.execute("pragma locking_mode=exclusive")
        connection.execute("begin exclusive")
        connection.commit()
    except sqlite3.OperationalError as error:
        connection.close()
        raise CopyRefused(f"{database} is in use ({error}): stop the coordinator first") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise CopyRefused(f"{database} is damaged ({error}): move it and its -wal and -shm away first") from error
    return connection


def _turns(database: sqlite3.Connection) -> int:
    if not database.execute("select 1 from sqlite_master where name = 'turns'").fetchone():
        return 0
    (number,) = database.execute("select count(*) from turns").fetchone()
    return int(number)


def _must_be_folder(database: Path) -> None:
    if not database.parent.is_dir():
        raise CopyRefused(f"{database.parent} is no folder: make it, or name the database with --database")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(sentence: str) -> Iterator[None]:
    """Turn what the system refuses into ours."""
    try:
        yield
    except OSError as error:
        raise CopyRefused(f"{sentence}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise CopyRefused(f"{sentence}: {error}") from error
