"""The keys of consumers, as the database keeps them: digests, never keys.

Everything here runs on a connection that its caller opened, in that transaction. What is changed is noted in the audit
log by the same transaction.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Self

from sqlalchemy import Connection, Row, func, insert, select, update

from switchboard_coordinator import tables
from switchboard_coordinator.address import is_name

from .scopes import Scopes

Moves = Literal["ask", "follow"]

FILE_ACTOR: Final = "file:consumers"
"""Who added what was taken in from the consumers file."""


class KeyRefused(Exception):
    """A change of keys that is not made; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is good for."""

    scopes: Scopes
    moves: Moves = "ask"
    """Whether a session sent to another address is refused unless the request says so, or follows."""
    turns_per_minute: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key as it is kept."""

    id: str
    consumer: str
    digest: str
    grant: Grant
    created_at: float
    revoked_at: float | None

    @classmethod
    def of(cls, row: Row[tuple[object, ...]]) -> Self:
        """The key that a row of the table tells."""
        grant = Grant(Scopes(tuple(row.scopes)), row.moves, row.turns_per_minute, row.expires_at)
        return cls(row.id, row.consumer, row.digest, grant, row.created_at, row.revoked_at)

    def state(self, now: float) -> Literal["live", "expired", "revoked"]:
        """How it is at this moment."""
        if self.revoked_at is not None:
            return "revoked"
        expires_at = self.grant.expires_at
        return "expired" if expires_at is not None and expires_at <= now else "live"


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return "sk-switchboard-" + secrets.token_urlsafe(32)


def digest_of(key: bytes) -> str:
    """What is kept of a key: its SHA-256 digest, in hex."""
    return hashlib.sha256(key).hexdigest()


def all_keys(connection: Connection) -> list[Key]:
    """Every key there ever was, by consumer, older ones first."""
    table = tables.keys
    rows = connection.execute(select(table).order_by(table.c.consumer, table.c.created_at, table.c.id))
    return [Key.of(row) for row in rows]


def stamp(connection: Connection) -> tuple[object, ...]:
    """Something that every change made here makes another; a fraction of the work of reading all keys."""
    table = tables.keys.c
    counted = select(func.count(), func.count(table.revoked_at), func.sum(table.expires_at)).select_from(tables.keys)
    return tuple(connection.execute(counted).one())


def add(connection: Connection, consumer: str, grant: Grant, key: str, *, actor: str, now: float) -> Key:
    """Give a key to a consumer that has none.

    Raises:
        KeyRefused: the name is no name, it has a key, or the key is somebody's.
    """
    if not is_name(consumer):
        raise KeyRefused(f"{consumer!r} is no name: it takes lower-case letters, digits and hyphens")
    if _live(connection, consumer, now):
        raise KeyRefused(f"{consumer} has a key already: `switchboard keys rotate {consumer}` gives it a new one")
    return _insert(connection, consumer, grant, digest_of(key.encode()), actor=actor, now=now)


def rotate(
    connection: Connection, consumer: str, key: str, *, overlap_seconds: float, actor: str, now: float
) -> tuple[Key, list[Key]]:
    """Give a consumer a new key for what its newest is good for; the others end after the overlap.

    The new one lives as long as the one before was made to live.

    Returns:
        The new key and the old ones.

    Raises:
        KeyRefused: the consumer has no key, or the key is somebody's.
    """
    old = _live(connection, consumer, now)
    if not old:
        raise KeyRefused(f"{consumer!r} has no key that counts: `switchboard keys add {consumer}` gives it one")
    newest = old[-1]
    lifetime = None if newest.grant.expires_at is None else newest.grant.expires_at - newest.created_at
    grant = replace(newest.grant, expires_at=None if lifetime is None else now + lifetime)
    end = now + overlap_seconds
    for one in old:
        if one.grant.expires_at is None or one.grant.expires_at > end:
            _update(connection, one, expires_at=end)
            _note(connection, actor, "key.expire", one, now)
    added = _insert(connection, consumer, grant, digest_of(key.encode()), actor=actor, now=now)
    return added, old


def revoke(connection: Connection, which: str, *, actor: str, now: float) -> list[Key]:
    """End a key, named by its id, or all keys of a consumer, named by its name. No name has a `_`, every id has one.

    Returns:
        The keys that this ended; none where all were revoked before.

    Raises:
        KeyRefused: there is no such key and no such consumer.
    """
    table = tables.keys
    rows = connection.execute(select(table).where((table.c.id == which) | (table.c.consumer == which)))
    found = [Key.of(row) for row in rows]
    if not found:
        raise KeyRefused(f"there is no key and no consumer {which!r}: `switchboard keys list` shows all")
    ended = [key for key in found if key.revoked_at is None]
    for key in ended:
        _update(connection, key, revoked_at=now)
        _note(connection, actor, "key.revoke", key, now)
    return ended


def take_in(connection: Connection, names: Mapping[str, str], scopes: Scopes, now: float) -> list[str]:
    """Add the consumers of a file (digest → name) that were never seen; whoever was seen stays as the database has it.

    Returns:
        Names whose line in the file is another key than any that the database knows as theirs: it does not count.
    """
    known = all_keys(connection)
    seen, digests = {key.consumer for key in known}, {key.digest: key.consumer for key in known}
    ignored = []
    for digest, name in names.items():
        if name not in seen and digest not in digests:
            _insert(connection, name, Grant(scopes), digest, actor=FILE_ACTOR, now=now)
        elif digests.get(digest) != name:
            ignored.append(name)
    return ignored


def _live(connection: Connection, consumer: str, now: float) -> list[Key]:
    return [key for key in all_keys(connection) if key.consumer == consumer and key.state(now) == "live"]


def _insert(connection: Connection, consumer: str, grant: Grant, digest: str, *, actor: str, now: float) -> Key:
    table = tables.keys
    owner = connection.execute(select(table.c.consumer).where(table.c.digest == digest)).scalar()
    if owner is not None:
        raise KeyRefused(f"this key is or was {owner}'s: each key is given once")
    key = Key("key_" + secrets.token_hex(6), consumer, digest, grant, now, None)
    connection.execute(
        insert(table).values(
            id=key.id,
            consumer=consumer,
            digest=digest,
            scopes=list(grant.scopes.words),
            turns_per_minute=grant.turns_per_minute,
            moves=grant.moves,
            created_at=now,
            expires_at=grant.expires_at,
        )
    )
    _note(connection, actor, "key.add", key, now)
    return key


def _update(connection: Connection, key: Key, **values: float) -> None:
    connection.execute(update(tables.keys).where(tables.keys.c.id == key.id).values(values))


def _note(connection: Connection, actor: str, action: str, key: Key, now: float) -> None:
    subject = f"{key.consumer} {key.id}"
    values = {"at": now, "actor": actor, "action": action, "subject": subject, "outcome": "done"}
    connection.execute(insert(tables.audit).values(values))
