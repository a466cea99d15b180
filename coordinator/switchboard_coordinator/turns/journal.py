"""The journal: what happened to every turn, written down in groups, and read again. Knows no peer and no surface.

One task writes. Whoever needs to know that something is written waits for the group that holds it, so a turn costs no
transaction of its own. Text waits for more of its own turn alone: what is due is written a little at a time, so that a
thousand streams are no burst.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog
from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from switchboard_coordinator.database import for_a_thread
from switchboard_coordinator.errors import JournalUnavailable
from switchboard_coordinator.tables import entries, sessions, turns
from switchboard_coordinator.turn import OVER, Event, restored

from . import writing

TEXT_SECONDS = 0.2
"""Text waits so long for more: so much of what was shown, and a little, may be missing after a SIGKILL."""
SWEEP_SECONDS = 0.02
"""So often it is looked for text that is due."""
RETRY_SECONDS = 1.0
"""While the database cannot be written, it is tried again so often."""
HELD_BYTES = 64 * 1024 * 1024
"""So much is held while the database cannot be written; text beyond it is lost to the journal, not to live readers."""
PRUNE_SECONDS = 60.0
"""At least so often it is looked for turns that are too old or too many."""
_log = structlog.get_logger("switchboard")


class Follower(Protocol):
    """A turn that goes on, as the journal sees it."""

    id: str

    def committed(self, last_id: int) -> None:
        """Everything up to this event is written."""


@dataclass(slots=True)
class _Group:
    """What is written in one transaction."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    events: dict[Follower, list[Event]] = field(default_factory=dict)
    closed: list[dict[str, Any]] = field(default_factory=list)
    freed: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    size: int = 0
    waiting: list[asyncio.Future[bool]] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.opened or self.events or self.closed or self.freed or self.sessions)


class Journal:
    """Writes and reads the turns of one coordinator.

    Attributes:
        trouble: why nothing can be written at the moment, as a sentence; None while all is well.
        keeps_text: False where the operator wants no text kept: then of events only their names and places are.
    """

    def __init__(
        self, engine: AsyncEngine, *, keeps_text: bool = True, days: float = 30.0, megabytes: int = 2048
    ) -> None:
        self.trouble: str | None = None
        self.keeps_text = keeps_text
        self._engine = engine
        self._writing = for_a_thread(engine)
        self._in_thread: Callable[..., Awaitable[Any]]
        self._days = days
        self._bytes = megabytes * 1024 * 1024
        self._group = _Group()
        self._wanted = asyncio.Event()
        self._later: dict[Follower, list[Event]] = {}
        """Events that nobody waits for; a turn is here or in the group."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_ending = False

    # Writing.

    def open(self, row: dict[str, Any]) -> None:
        """Queue a new turn: a row of the table `turns`."""
        self._group.opened.append(row if self.keeps_text else {**row, "question": None})

    def write(self, turn: Follower, event: Event) -> None:
        """Queue an event; it is written with the next group."""
        if event.name == "lane.text":
            self._group.size += 100 + len(event.data["text"])
            if self._group.size > HELD_BYTES and self.trouble:
                event = event._replace(data={**event.data, "text": ""})
        events = self._group.events.get(turn) or self._later.get(turn)
        if events is None:
            self._later[turn] = [event]
            self._sweep_soon()
        else:
            events.append(event)

    def _sweep_soon(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Let what is due be written."""
        self._sweeping = None
        due = time.time() - TEXT_SECONDS
        for turn, events in list(self._later.items()):  # in the order of their first events
            if events[0].at > due and not self._is_ending:
                break
            self._group.events[turn] = self._later.pop(turn)
        if not self._group.is_empty():
            self._wanted.set()
        if self._later:
            self._sweep_soon()

    def close(self, turn: Follower, state: str, at: float, *, keeps_key: bool = True) -> None:
        """Queue the end of a turn; its Idempotency-Key may be used anew where it does not keep it."""
        self._group.closed.append({"turn": turn.id, "now": state, "at": at})
        if not keeps_key:
            self._group.freed.append({"turn": turn.id})

    def remember_session(self, row: dict[str, Any]) -> None:
        """Queue a row of the table `sessions`."""
        self._group.sessions[row["consumer"], row["session"]] = row
        self._sweep_soon()

    def forget_session(self, consumer: str, name: str) -> None:
        """Queue the end of a session that never began."""
        self._group.sessions[consumer, name] = None
        self._sweep_soon()

    async def commit(self, turn: Follower) -> bool:
        """Wait until everything queued of this turn is written; False when that failed."""
        if turn in self._later:
            self._group.events[turn] = self._later.pop(turn)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._group.waiting.append(done)
        self._wanted.set()
        return await done

    async def keep(self) -> None:
        """Write until `end` is called, and what is left then; only what cannot be written is lost with this process."""
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as thread:
            self._in_thread = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
            while not await self._keep_on():
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.set()
            await self._in_thread(self._writing.dispose)

    def end(self) -> None:
        """Let `keep` come to its end."""
        self._is_ending = True
        self._sweep()
        self._wanted.set()

    async def _keep_on(self) -> bool:
        """Write until the end, or until it fails: False."""
        connection: Connection | None = None
        group = self._group
        prune_at = 0.0
        pruning: asyncio.TimerHandle | None = None
        try:
            connection = await self._in_thread(self._writing.connect)
            while True:
                await self._wanted.wait()
                group = self._taken()
                await self._write(connection, group)
                group = self._group  # what was taken is written: nothing of it is to be tried again
                if self._is_ending and self._group.is_empty() and not self._later:
                    return True
                if time.monotonic() >= prune_at:
                    oldest = time.time() - self._days * 86400
                    is_more = await self._in_thread(writing.prune, connection, oldest, self._bytes)
                    pause = 0.0 if is_more else PRUNE_SECONDS
                    prune_at = time.monotonic() + pause
                    pruning = asyncio.get_running_loop().call_later(pause + 0.1, self._wanted.set)
        except Exception as error:  # noqa: BLE001 - whoever waits for the journal would wait for ever without it
            self._failed(error, group)
            return self._is_ending
        finally:
            if pruning is not None:
                pruning.cancel()
            if connection is not None:
                await self._in_thread(writing.let_go, connection)

    def _taken(self) -> _Group:
        group, self._group = self._group, _Group()
        self._wanted.clear()
        return group

    async def _write(self, connection: Connection, group: _Group) -> None:
        if self.trouble or not group.is_empty():
            rows = [
                {"turn": turn.id, "first": events[0].id, "last": events[-1].id, "events": self._packed(events)}
                for turn, events in group.events.items()
            ]
            await self._in_thread(
                writing.write, connection, group.opened, rows, group.closed, group.freed, group.sessions
            )
        if self.trouble:
            _log.info("journal_recovered")
            self.trouble = None
        for turn, events in group.events.items():
            turn.committed(events[-1].id)
        _settle(group, written=True)

    def _packed(self, events: Sequence[Event]) -> bytes:
        if self.keeps_text:
            return orjson.dumps([event.stored() for event in events])
        return orjson.dumps([_without_text(event) for event in events])

    def _failed(self, error: Exception, group: _Group) -> None:
        """Keep what could not be written for the next try, and let nobody wait for it."""
        words = str(error.orig if isinstance(error, DBAPIError) else error)
        if self.trouble != words:
            _log.error("journal_failed", error=words, exc_info=None if isinstance(error, DBAPIError) else error)
        self.trouble = words
        _settle(group, written=False)
        if group is self._group:
            group.waiting = []
            return
        newer, self._group = self._group, group
        group.waiting = newer.waiting
        group.opened += newer.opened
        group.closed += newer.closed
        group.freed += newer.freed
        group.sessions |= newer.sessions
        group.size += newer.size
        for turn, events in newer.events.items():
            group.events.setdefault(turn, []).extend(events)
        for turn in [turn for turn in self._later if turn in group.events]:
            group.events[turn].extend(self._later.pop(turn))

    # Reading.

    async def events(self, turn: str, after: int) -> list[Event]:
        """What is written of a turn behind event `after`, in order."""
        rows = await self._fetch(
            select(entries.c.first, entries.c.events)
            .where(entries.c.turn == turn, entries.c.last > after)
            .order_by(entries.c.first)
        )
        return [
            restored(event_id, stored)
            for row in rows
            for event_id, stored in enumerate(orjson.loads(row.events), row.first)
            if event_id > after
        ]

    async def row(self, turn: str) -> Row[Any] | None:
        """A turn's row in the table `turns`."""
        rows = await self._fetch(select(turns).where(turns.c.id == turn))
        return rows[0] if rows else None

    async def rows(
        self,
        consumer: str | None,
        *,
        state: str | None = None,
        known: Sequence[str] = (),
        session: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Row[Any]]:
        """The newest turns first; `before` is the id that the last page ended with.

        Of a turn that goes on its row does not tell how far it is: `known` are those that are in this `state`.
        """
        query = select(turns).order_by(turns.c.id.desc()).limit(limit)
        for column, value in ((turns.c.consumer, consumer), (turns.c.session, session)):
            if value is not None:
                query = query.where(column == value)
        if state is not None:
            is_there = turns.c.id.in_(known)
            query = query.where(is_there | (turns.c.state == state) if state in OVER else is_there)
        if before is not None:
            query = query.where(turns.c.id < before)
        return await self._fetch(query)

    async def keyed(self, consumer: str, key: str) -> Row[Any] | None:
        """The turn that came with this Idempotency-Key."""
        rows = await self._fetch(select(turns).where(turns.c.consumer == consumer, turns.c.key == key))
        return rows[0] if rows else None

    async def forget_key(self, turn: str) -> None:
        """Let its Idempotency-Key be used anew.

        Raises:
            JournalUnavailable: the database cannot be written.
        """
        with _trouble_told("written"):
            async with self._engine.begin() as connection:
                await connection.execute(writing.FREE_KEY, {"turn": turn})

    async def session(self, consumer: str, name: str) -> Row[Any] | None:
        """A session's row in the table `sessions`."""
        rows = await self._fetch(select(sessions).where(sessions.c.consumer == consumer, sessions.c.session == name))
        return rows[0] if rows else None

    async def session_turns(self, consumer: str, name: str, after: str | None, limit: int) -> Sequence[Row[Any]]:
        """The newest turns of a session that are over, behind turn `after`, oldest first."""
        query = (
            select(turns)
            .where(turns.c.consumer == consumer, turns.c.session == name, turns.c.ended_at.is_not(None))
            .order_by(turns.c.id.desc())
            .limit(limit)
        )
        if after is not None:
            query = query.where(turns.c.id > after)
        return list(reversed(await self._fetch(query)))

    async def left_open(self) -> Sequence[Row[Any]]:
        """The turns that were open when a coordinator ended; each counts one restart more."""
        condition = turns.c.ended_at.is_(None) & turns.c.state.not_in(OVER)
        async with self._engine.begin() as connection:
            await connection.execute(update(turns).where(condition).values(restarts=turns.c.restarts + 1))
            return (await connection.execute(select(turns).where(condition))).all()

    async def count(self) -> int:
        """How many turns are kept."""
        rows = await self._fetch(select(func.count()).select_from(turns))
        return int(rows[0][0])

    async def _fetch(self, query: Any) -> Sequence[Row[Any]]:
        with _trouble_told("read"):
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()


@contextmanager
def _trouble_told(doing: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise JournalUnavailable(f"the journal cannot be {doing} now: {error.orig}") from error


def _settle(group: _Group, *, written: bool) -> None:
    for waiting in group.waiting:
        if not waiting.done():
            waiting.set_result(written)
    group.waiting = []


def _without_text(event: Event) -> dict[str, Any]:
    stored = event.stored()
    if event.name == "lane.text":
        return {**stored, "text": ""}
    if event.name == "lane.tool":
        return {**stored, "progress": {}}
    if event.name == "lane.approval":  # the command that an agent wants to run is its words too
        return {name: value for name, value in stored.items() if name in ("event", "at", "lane", "approval")}
    return stored
