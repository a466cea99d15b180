"""The audit log: everything that was refused or changed, in the database and as a line of the log.

Nobody waits for it and nothing fails because of it: what happened is noted in memory and written each second. The same
thing again within a minute is counted, so that a flood of refusals is a row a minute.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any, NamedTuple

import structlog
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from switchboard_coordinator import tables

WRITE_SECONDS = 1.0
SAME_SECONDS = 60.0
HELD = 1000
"""So many different things are held while they cannot be written; more are dropped, and their number is told."""
ROWS_KEPT = 200_000
SUBJECT_LENGTH = 200
LAST_SECONDS = 2.0
"""How long the last write at the end may take."""

_INSERT = insert(tables.audit)
_log = structlog.get_logger("switchboard")


class _Thing(NamedTuple):
    """What makes two happenings the same."""

    actor: str
    action: str
    subject: str
    outcome: str


_DROPPED = _Thing("", "audit.drop", "", "done")


class _Times:
    """How often a thing happened since it was written last."""

    __slots__ = ("at", "count", "is_told", "request_id")

    def __init__(self, at: float, request_id: str | None, count: int = 0) -> None:
        self.at = at
        self.request_id = request_id
        self.count = count
        self.is_told = False

    def told(self) -> dict[str, Any]:
        """The columns that do not make it another thing."""
        return {"at": self.at, "count": self.count, "request_id": self.request_id}


class Audit:
    """Notes at once, writes later."""

    def __init__(self) -> None:
        self._held: dict[_Thing, _Times] = {}
        self._written: dict[_Thing, float] = {}  # when, on the monotonic clock
        self._dropped = 0
        self._engine: AsyncEngine | None = None
        self._is_failing = False

    def note(
        self, actor: str, action: str, subject: str, outcome: str = "done", *, request_id: str | None = None
    ) -> None:
        """Keep what happened: who did what to whom, and `done` or the code of the refusal."""
        thing = _Thing(actor, action, subject[:SUBJECT_LENGTH], outcome)
        times = self._held.get(thing)
        if times is None:
            if len(self._held) >= HELD:
                self._dropped += 1
                return
            times = self._held[thing] = _Times(time.time(), request_id)
        times.count += 1

    async def keep(self, engine: AsyncEngine) -> None:
        """Write what was noted until cancelled; then the rest."""
        self._engine = engine
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                await self._write(engine, is_last=False)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._write(engine, is_last=True)

    async def page(self, *, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The newest rows, newest first; `before` continues behind the id of a page's last.

        Raises:
            SQLAlchemyError: the database cannot be read.
        """
        if self._engine is None:
            return []
        rows = select(tables.audit).order_by(tables.audit.c.id.desc()).limit(limit)
        if before is not None:
            rows = rows.where(tables.audit.c.id < before)
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(rows)).mappings()]

    async def _write(self, engine: AsyncEngine, *, is_last: bool) -> None:
        due = self._take(time.monotonic(), is_last=is_last)
        if not due:
            return
        rows = [thing._asdict() | times.told() for thing, times in due.items()]
        try:
            async with engine.begin() as connection:
                await connection.execute(_INSERT, rows)
                newest = select(func.max(tables.audit.c.id)).scalar_subquery()
                await connection.execute(delete(tables.audit).where(tables.audit.c.id <= newest - ROWS_KEPT))
            self._is_failing = False
        except SQLAlchemyError as error:
            if not self._is_failing:
                _log.warning("audit_unwritten", problem=str(error), remedy="it is held and tried again")
            self._is_failing = True
            self._put_back(due)

    def _take(self, now: float, *, is_last: bool) -> dict[_Thing, _Times]:
        """What is to be written now; each is told in the log once."""
        self._written = {thing: at for thing, at in self._written.items() if now - at < SAME_SECONDS}
        due = {thing: times for thing, times in self._held.items() if is_last or thing not in self._written}
        for thing in due:
            del self._held[thing]
        if self._dropped:
            due[_DROPPED] = _Times(time.time(), None, self._dropped)
            self._dropped = 0
        for thing, times in due.items():
            if not times.is_told:
                times.is_told = True
                _log.info("audit", **thing._asdict(), request_id=times.request_id, count=times.count)
            self._written[thing] = now
        return due

    def _put_back(self, due: dict[_Thing, _Times]) -> None:
        for thing, times in due.items():
            self._written.pop(thing, None)
            if thing == _DROPPED:
                self._dropped += times.count
                continue
            if newer := self._held.pop(thing, None):
                times.count += newer.count
            elif len(self._held) >= HELD:
                self._dropped += times.count
                continue
            self._held[thing] = times
