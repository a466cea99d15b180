"""Opens the coordinator's database: SQLite in WAL mode, brought to the newest schema first."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_SECONDS = 2.0
"""How long a statement waits for another process that writes."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_PRAGMAS = (
    "journal_mode=wal",
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
    if not file.parent.is_dir():
        raise DatabaseError(f"{file.parent} is no folder: make it, or set SWITCHBOARD_COORDINATOR_DATABASE_FILE")
    try:
        file.touch(mode=0o600)
        with file.open("rb+"):
            pass
    except OSError as error:
        raise DatabaseError(f"{file} cannot be written: {error.strerror}") from None
    engine = create_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "connect", _begin_ourselves)
    event.listen(engine, "begin", _begin_alone)
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise DatabaseError(f"{file} cannot be used: {error.orig}") from error
    except CommandError as error:
        raise DatabaseError(f"{file} belongs to a newer version of Switchboard: {error}") from error
    finally:
        engine.dispose()


def _set_up(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_ourselves(connection: Any, _: object) -> None:
    """Keep sqlite3 from committing before each change of the schema: a migration that is cut off leaves nothing."""
    connection.isolation_level = None


def _begin_alone(connection: Connection) -> None:
    """Begin as the one who writes: whoever migrates at the same time waits, and then finds nothing left to do."""
    connection.exec_driver_sql("begin immediate")
