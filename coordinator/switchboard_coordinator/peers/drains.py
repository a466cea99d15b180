"""Peers that get no new turns for a while, so that their machines can be worked on. Kept over a restart.

A drained peer gives out no places: what runs there goes on, what is named to it waits, groups are without it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy import Delete, Insert, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from switchboard_coordinator.errors import JournalUnavailable
from switchboard_coordinator.tables import drains

from .admission import Admission
from .roster import Roster


class Drains:
    """Begins and ends them; what is true is in the database first, then in the roster and the admission."""

    def __init__(
        self, engine: AsyncEngine, roster: Roster, admission: Admission, look: Callable[[str], Awaitable[None]]
    ) -> None:
        """`look` finds out how a peer is now, and raises nothing."""
        self._engine = engine
        self._roster = roster
        self._admission = admission
        self._look = look
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> None:
        """Take up what another process left; to be awaited before the first turn. Who is no peer now is forgotten.

        Raises:
            SQLAlchemyError: the database cannot be read.
        """
        peers = self._roster.now.peers
        async with self._engine.begin() as connection:
            await connection.execute(delete(drains).where(drains.c.peer.not_in([*peers])))
            for row in await connection.execute(select(drains)):
                self._set(row.peer, row.since)

    async def begin(self, peer: str, by: str) -> bool:
        """Drain a peer; False where it is drained already.

        Raises:
            JournalUnavailable: that cannot be written down, and is not so.
        """
        async with self._one_at_a_time:
            if self._admission.is_paused(peer):
                return False
            now = time.time()
            await self._write(insert(drains).values(peer=peer, since=now, by=by))
            self._set(peer, now)
            return True

    async def end(self, peer: str) -> bool:
        """Let it have turns again, those that wait at once; False where it is not drained.

        It is looked at first: what waited is not to be refused for what was found while its machine was worked on.

        Raises:
            JournalUnavailable: that cannot be written down, and is not so.
        """
        async with self._one_at_a_time:
            if not self._admission.is_paused(peer):
                return False
            await self._look(peer)
            await self._write(delete(drains).where(drains.c.peer == peer))
            self._roster.drained(peer, None)
            self._admission.go_on(peer)
            return True

    def _set(self, peer: str, since: float) -> None:
        self._admission.pause(peer)
        self._roster.drained(peer, datetime.fromtimestamp(since, UTC))

    async def _write(self, statement: Insert | Delete) -> None:
        try:
            async with self._engine.begin() as connection:
                await connection.execute(statement)
        except SQLAlchemyError as error:
            raise JournalUnavailable(f"that cannot be written down now, and nothing was changed: {error}") from error
