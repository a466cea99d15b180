"""What the journal's thread does: it writes a group in one transaction, and deletes what is too old or too much.

Blocking, on SQLAlchemy Core: an asynchronous driver would go to its thread and back for every statement of the group,
which cost a turn more than all its other work.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from switchboard_coordinator.tables import entries, sessions, turns

PRUNED_TURNS = 200
"""So many turns are deleted in one transaction."""

FREE_KEY = update(turns).where(turns.c.id == bindparam("turn")).values(key=None, digest=None)
_INSERT_TURNS = insert(turns)
_INSERT_ENTRIES = insert(entries)
_INSERT_SESSIONS = insert(sessions)
_CLOSE_TURN = (
    update(turns).where(turns.c.id == bindparam("turn")).values(state=bindparam("now"), ended_at=bindparam("at"))
)
_DELETE_SESSION = delete(sessions).where(
    sessions.c.consumer == bindparam("of"), sessions.c.session == bindparam("name")
)
_TOUCH = delete(turns).where(turns.c.id == "")
"""Changes nothing, and fails where nothing can be written."""

_log = structlog.get_logger("switchboard")

Rows = list[dict[str, Any]]


def write(
    connection: Connection,
    opened: Rows,
    events: Rows,
    closed: Rows,
    freed: Rows,
    left: Mapping[tuple[str, str], dict[str, Any] | None],
) -> None:
    """Write turns that begin, events, turns that end, keys that are free, and sessions as they were left.

    Raises:
        DBAPIError: nothing of it is written.
    """
    if opened:
        connection.execute(_INSERT_TURNS, opened)
    if events:
        connection.execute(_INSERT_ENTRIES, events)
    if closed:
        connection.execute(_CLOSE_TURN, closed)
    if freed:
        connection.execute(FREE_KEY, freed)
    for (consumer, name), row in left.items():
        connection.execute(_DELETE_SESSION, {"of": consumer, "name": name})
        if row is not None:
            connection.execute(_INSERT_SESSIONS, [row])
    if not (opened or events or closed or freed or left):
        connection.execute(_TOUCH)
    connection.commit()


def let_go(connection: Connection) -> None:
    """Close it, whatever state it is in."""
    with suppress(DBAPIError):
        connection.rollback()
    with suppress(DBAPIError):
        connection.close()


def prune(connection: Connection, oldest: float, most_bytes: int) -> bool:
    """Delete some of what ended before `oldest`, or the oldest where there is too much; True where more is left."""
    try:
        connection.execute(delete(sessions).where(sessions.c.used_at < oldest))
        deleted = _delete(connection, turns.c.ended_at < oldest)
        if not deleted and _used_bytes(connection) > most_bytes:
            deleted = _delete(connection, turns.c.ended_at.is_not(None))
        connection.commit()  # a look at the size begins a transaction too, and would hold the file as it is now
    except DBAPIError as error:  # what was written before is written; the next look tries again
        with suppress(DBAPIError):
            connection.rollback()
        _log.warning("journal_not_pruned", error=str(error.orig))
        return False
    return deleted == PRUNED_TURNS


def _used_bytes(connection: Connection) -> int:
    found = connection.execute(
        text(
            "select (page_count - freelist_count) * page_size"
            " from pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
    )
    return int(found.scalar_one())


def _delete(connection: Connection, condition: Any) -> int:
    old = list(
        connection.execute(select(turns.c.id).where(condition).order_by(turns.c.ended_at).limit(PRUNED_TURNS)).scalars()
    )
    if old:
        connection.execute(delete(entries).where(entries.c.turn.in_(old)))
        connection.execute(delete(turns).where(turns.c.id.in_(old)))
    connection.commit()
    return len(old)
