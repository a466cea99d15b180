"""Opens the coordinator's database: SQLite in WAL mode, brought to the newest schema first.

An older version is started on a newer schema when an upgrade is taken back. It may be, unless a migration said in
`user_version` from which revision on a program knows what it must: what only adds, says nothing.
"""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_SECONDS = 2.0
"""How long a statement waits for another process that writes."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_PRAGMAS = (
    "synchronous=normal",  # a commit survives SIGKILL; a power cut may take the last ones, and leaves the file whole
    f"busy_timeout={round(BUSY_SECONDS * 1000)}",
    "foreign_keys=on",
)


class DatabaseError(Exception):
    """The database cannot be used; says what to do."""


def open_database(file: Path) -> AsyncEngine:
    """The database in `file`, made (mode 0600) where it is missing, and brought to the newest schema.

    Raises:
        DatabaseError: the file or its folder is not fit for use, is no database, or belongs to a newer version.
    """
    migrate(file)
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    event.listen(engine.sync_engine, "connect", _set_up)
    return engine


def open_blocking(file: Path) -> Engine:
    """The same for a command that does one thing and ends.

    Raises:
        DatabaseError: see `open_database`.
    """
    migrate(file)
    engine = create_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", _set_up)
    return engine


def for_a_thread(engine: AsyncEngine) -> Engine:
    """The same database for a thread of its own, which waits for it: one hop for a whole transaction."""
    blocking = create_engine(engine.url.set(drivername="sqlite"))
    event.listen(blocking, "connect", _set_up)
    return blocking


def migrate(file: Path) -> None:
    """Bring the schema to the newest version.

    Raises:
        DatabaseError: see `open_database`.
    """
    _check_folder(file)
    try:
        file.touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"{file} cannot be written: {error.strerror}") from None
    _check_writable(file)
    engine = create_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "connect", _write_ahead)
    event.listen(engine, "connect", _begin_ourselves)
    event.listen(engine, "begin", _begin_alone)
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            if not _is_newer_and_usable(connection):
                command.upgrade(config, "head")
    except DBAPIError as error:
        raise DatabaseError(f"{file} cannot be used: {error.orig}") from error
    except CommandError as error:
        raise DatabaseError(f"{file} belongs to a newer version of Switchboard: {error}") from error
    finally:
        engine.dispose()


def check(file: Path) -> None:
    """See whether `open_database` could use this file, and make or change nothing.

    Raises:
        DatabaseError: see `open_database`.
    """
    _check_folder(file)
    if not file.exists():
        if not os.access(file.parent, os.W_OK | os.X_OK):
            raise DatabaseError(f"{file} cannot be made: {file.parent} must belong to the user {os.geteuid()}")
        return
    _check_writable(file)
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return  # nobody's yet
            revision = connection.execute(text("select version_num from alembic_version")).scalar()
            is_usable = revision is None or is_known(revision) or _is_newer_and_usable(connection)
    except DBAPIError as error:
        raise DatabaseError(f"{file} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()
    if not is_usable:
        raise DatabaseError(f"{file} belongs to a newer version of Switchboard: its schema is {revision}")


def _check_folder(file: Path) -> None:
    if not file.parent.is_dir():
        raise DatabaseError(f"{file.parent} is no folder: make it, or set SWITCHBOARD_COORDINATOR_DATABASE_FILE")


def _check_writable(file: Path) -> None:
    try:
        with file.open("rb+"):
            pass
    except OSError as error:
        raise DatabaseError(f"{file} cannot be written: {error.strerror}") from None


def is_known(revision: str) -> bool:
    """Whether a database of this revision of the schema is one of ours, and none of a newer version."""
    return revision in {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}


def is_usable(revision: str, usable_from: int) -> bool:
    """Whether this version can go on with a schema of that revision, whose `user_version` names the oldest that can."""
    newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    return is_known(revision) or (newest is not None and revision > newest and usable_from <= int(newest))


def _is_newer_and_usable(connection: Connection) -> bool:
    """Whether a newer version made this schema, and made it so that this version can go on with it."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    revision = connection.execute(text("select version_num from alembic_version")).scalar()
    if revision is None or is_known(revision):
        return False
    return is_usable(revision, int(connection.exec_driver_sql("pragma user_version").scalar_one()))


def _set_up(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _write_ahead(connection: Any, _: object) -> None:
    """Turn the file to WAL, which it stays: SQLite itself does not wait for others who turn it at the same time."""
    last = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode=wal")
        except sqlite3.OperationalError:
            if time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            break


def _begin_ourselves(connection: Any, _: object) -> None:
    """Keep sqlite3 from committing before each change of the schema: a migration that is cut off leaves nothing."""
    connection.isolation_level = None


def _begin_alone(connection: Connection) -> None:
    """Begin as the one who writes: whoever migrates at the same time waits, and then finds nothing left to do."""
    connection.exec_driver_sql("begin immediate")
