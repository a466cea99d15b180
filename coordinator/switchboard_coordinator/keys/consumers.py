"""Who may ask: every key that counts, by its digest, in memory, as the database had it a moment ago.

Nobody waits for the database to be let in: a key is found in a dict.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from . import keys
from .keys import Key, Moves, digest_of
from .scopes import EVERYTHING, Scopes

LOOK_SECONDS = 0.5
"""The database is looked at so often: what another process changes counts a moment later."""

_log = structlog.get_logger("switchboard")


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who asks, by one of its keys."""

    name: str
    scopes: Scopes
    key_id: str = ""
    """Empty for a key that no database keeps."""
    moves: Moves = "ask"
    turns_per_minute: int | None = None
    expires_at: float | None = None


NOBODY = Consumer("", Scopes())


class Stranger(NamedTuple):
    """Someone who is not let in: `consumer` where the key was good once, and a sentence for whoever holds it."""

    consumer: str
    outcome: str
    words: str


class Consumers:
    """The consumers of one coordinator."""

    def __init__(
        self,
        names: Mapping[str, str],
        scopes: Scopes = EVERYTHING,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`names` is digest → name: who counts as long as no database is kept to, and is taken into it when one is."""
        self._names = dict(names)
        self._scopes = scopes
        self._clock = clock
        self._by_digest = {digest: Consumer(name, scopes) for digest, name in names.items()}
        self._stamp: tuple[object, ...] | None = None
        self._revoked: dict[str, str] = {}
        self._is_open = False

    def who(self, authorization: bytes | None) -> Consumer | None:
        """The consumer whose key this `Authorization: Bearer …` value holds.

        Found by the digest of what was sent, so that no comparison's time tells how much of a key was right.
        """
        scheme, _, key = (authorization or b"").partition(b" ")
        consumer = self._by_digest.get(digest_of(key)) if scheme.lower() == b"bearer" else None
        if consumer is None or consumer.expires_at is None or self._clock() < consumer.expires_at:
            return consumer
        return None

    def stranger(self, authorization: bytes | None) -> Stranger:
        """What there is to say to someone whom `who` does not know."""
        key = (authorization or b"").partition(b" ")[2]
        if not key:
            return Stranger("", "no_key", "no key: send yours as `Authorization: Bearer …`")
        digest = digest_of(key)
        if digest in self._revoked:
            return Stranger(self._revoked[digest], "key_revoked", "this key was revoked")
        if digest in self._by_digest:
            return Stranger(self._by_digest[digest].name, "key_expired", "this key has expired")
        return Stranger("", "invalid_api_key", "no consumer has this key: send it as `Authorization: Bearer …`")

    async def open(self, engine: AsyncEngine) -> None:
        """Take names that the database never saw into it, and from here on let in whom it names.

        Raises:
            SQLAlchemyError: the database cannot be used.
        """
        async with engine.begin() as connection:
            ignored = await connection.run_sync(keys.take_in, self._names, self._scopes, self._clock())
        for name in ignored:
            _log.warning("consumers_line_ignored", consumer=name, reason="the database knows this name or key already")
        await self._look(engine)
        self._is_open = True
        if not self._by_digest:
            _log.warning("no_keys", remedy="switchboard keys add NAME")

    async def keep(self, engine: AsyncEngine) -> None:
        """Follow the database until cancelled. While it cannot be read, whoever was let in is let in.

        Raises:
            SQLAlchemyError: it was not opened before, and cannot be.
        """
        if not self._is_open:
            await self.open(engine)
        is_blind = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look(engine)
                is_blind = False
            except SQLAlchemyError as error:
                if not is_blind:
                    _log.warning("keys_unreadable", problem=str(error), remedy="who was let in stays let in")
                is_blind = True

    async def _look(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            stamp = await connection.run_sync(keys.stamp)
            if stamp == self._stamp:
                return
            kept = await connection.run_sync(keys.all_keys)
        self._stamp = stamp
        self._by_digest = {key.digest: _consumer(key) for key in kept if key.revoked_at is None}
        self._revoked = {key.digest: key.consumer for key in kept if key.revoked_at is not None}


def _consumer(key: Key) -> Consumer:
    grant = key.grant
    return Consumer(key.consumer, grant.scopes, key.id, grant.moves, grant.turns_per_minute, grant.expires_at)
