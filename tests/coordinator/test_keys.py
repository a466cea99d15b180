"""The keys in the database: given, replaced, revoked, taken in from the consumers file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from switchboard_coordinator import tables
from switchboard_coordinator.database import open_blocking
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.keys import FILE_ACTOR, Grant, Key, KeyRefused, digest_of
from switchboard_coordinator.keys.scopes import ASKING, EVERYTHING, Scopes

DAY = 86400.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_blocking(tmp_path / "switchboard.db")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def give(connection: Connection, name: str, key: str, grant: Grant | None = None, now: float = 1000.0) -> Key:
    return keys.add(connection, name, grant or Grant(ASKING), key, actor="uid:0", now=now)


def audited(connection: Connection) -> list[tuple[Any, ...]]:
    table = tables.audit.c
    rows = connection.execute(select(table.actor, table.action, table.subject, table.outcome).order_by(table.id))
    return [tuple(row) for row in rows]


def test_two_keys_are_never_alike_and_hard_to_guess() -> None:
    assert keys.new_key() != keys.new_key()
    assert keys.new_key().startswith("sk-switchboard-")
    assert len(keys.new_key()) > 50


def test_a_key_is_kept_as_its_digest_with_what_it_is_good_for(connection: Connection) -> None:
    grant = Grant(Scopes.parse(["any@gpu", "admin"]), "follow", 30, 2000.0)
    key = give(connection, "me", "sk-mine", grant)
    (kept,) = keys.all_keys(connection)
    assert kept == key
    assert (kept.consumer, kept.digest, kept.grant, kept.created_at) == ("me", digest_of(b"sk-mine"), grant, 1000.0)
    assert [kept.state(now) for now in (1000.0, 1999.9, 2000.0)] == ["live", "live", "expired"]
    everything = [tuple(row) for table in (tables.keys, tables.audit) for row in connection.execute(select(table))]
    assert "sk-mine" not in str(everything)


def test_a_consumer_with_a_key_is_not_given_a_second_by_adding(connection: Connection) -> None:
    give(connection, "me", "sk-mine")
    with pytest.raises(KeyRefused, match="me has a key already: `switchboard keys rotate me`"):
        give(connection, "me", "sk-other")


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_consumer_whose_keys_have_ended_can_be_given_one_but_never_the_same(connection: Connection, end: str) -> None:
    give(connection, "me", "sk-mine", Grant(ASKING, expires_at=2000.0))
    if end == "revoked":
        keys.revoke(connection, "me", actor="uid:0", now=1500.0)
    with pytest.raises(KeyRefused, match="this key is or was me's"):
        give(connection, "me", "sk-mine", now=3000.0)
    give(connection, "me", "sk-other", now=3000.0)
    assert [key.state(3000.0) for key in keys.all_keys(connection)] == [end, "live"]


def test_a_key_of_someone_else_and_a_name_that_is_none_are_refused(connection: Connection) -> None:
    give(connection, "me", "sk-mine")
    with pytest.raises(KeyRefused, match="this key is or was me's") as caught:
        give(connection, "you", "sk-mine")
    assert "sk-mine" not in str(caught.value)
    for name in ("My Laptop", "key_1", "", "uid:0"):
        with pytest.raises(KeyRefused, match="is no name"):
            give(connection, name, "sk-other")


def test_a_rotated_key_is_good_for_the_same_and_the_old_one_ends_after_the_overlap(connection: Connection) -> None:
    grant = Grant(Scopes.parse(["*", "admin"]), "follow", 7, expires_at=1000.0 + 30 * DAY)
    first = give(connection, "me", "sk-1", grant)
    now = 1000.0 + 20 * DAY
    second, old = keys.rotate(connection, "me", "sk-2", overlap_seconds=3600, actor="uid:0", now=now)
    assert [key.id for key in old] == [first.id]
    assert (second.grant.scopes, second.grant.moves, second.grant.turns_per_minute) == (grant.scopes, "follow", 7)
    assert second.grant.expires_at == now + 30 * DAY
    states = [[key.state(at) for key in keys.all_keys(connection)] for at in (now + 3599, now + 3600)]
    assert states == [["live", "live"], ["expired", "live"]]


def test_a_rotation_never_makes_an_old_key_live_longer(connection: Connection) -> None:
    give(connection, "me", "sk-1")
    keys.rotate(connection, "me", "sk-2", overlap_seconds=10, actor="uid:0", now=1001.0)
    keys.rotate(connection, "me", "sk-3", overlap_seconds=DAY, actor="uid:0", now=1002.0)
    assert [key.grant.expires_at for key in keys.all_keys(connection)] == [1011.0, 1002.0 + DAY, None]
    _, old = keys.rotate(connection, "me", "sk-4", overlap_seconds=0, actor="uid:0", now=1003.0)
    assert len(old) == 3
    assert [key.state(1003.0) for key in keys.all_keys(connection)] == ["expired", "expired", "expired", "live"]


def test_who_has_no_key_that_counts_has_nothing_to_rotate(connection: Connection) -> None:
    give(connection, "me", "sk-1", Grant(ASKING, expires_at=2000.0))
    for name in ("me", "you"):
        with pytest.raises(KeyRefused, match=f"'{name}' has no key that counts"):
            keys.rotate(connection, name, "sk-2", overlap_seconds=0, actor="uid:0", now=2000.0)


def test_one_key_is_revoked_by_its_id_and_all_of_a_consumer_by_its_name(connection: Connection) -> None:
    first = give(connection, "me", "sk-1")
    second, _ = keys.rotate(connection, "me", "sk-2", overlap_seconds=DAY, actor="uid:0", now=1001.0)
    give(connection, "you", "sk-3")
    assert [key.id for key in keys.revoke(connection, first.id, actor="uid:0", now=1002.0)] == [first.id]
    assert [key.id for key in keys.revoke(connection, "me", actor="uid:0", now=1003.0)] == [second.id]
    assert keys.revoke(connection, "me", actor="uid:0", now=1004.0) == []
    assert [key.revoked_at for key in keys.all_keys(connection)] == [1002.0, 1003.0, None]
    with pytest.raises(KeyRefused, match="there is no key and no consumer 'he'"):
        keys.revoke(connection, "he", actor="uid:0", now=1005.0)


def test_names_never_seen_are_taken_in_and_whoever_was_seen_stays_as_the_database_has_it(
    connection: Connection,
) -> None:
    file = {digest_of(b"sk-1"): "me", digest_of(b"sk-2"): "you"}
    assert keys.take_in(connection, file, ASKING, 1000.0) == []
    keys.revoke(connection, "me", actor="uid:0", now=1001.0)
    before = keys.all_keys(connection)
    assert keys.take_in(connection, file, EVERYTHING, 1002.0) == []
    assert keys.all_keys(connection) == before
    assert [key.state(1002.0) for key in before] == ["revoked", "live"]
    another = {digest_of(b"sk-9"): "me", digest_of(b"sk-2"): "they", digest_of(b"sk-4"): "he"}
    assert keys.take_in(connection, another, ASKING, 1003.0) == ["me", "they"]
    assert [(key.consumer, key.state(1003.0)) for key in keys.all_keys(connection)] == [
        ("he", "live"),
        ("me", "revoked"),
        ("you", "live"),
    ]


def test_every_change_shows_in_the_stamp(connection: Connection) -> None:
    stamps = [keys.stamp(connection)]
    give(connection, "me", "sk-1", Grant(ASKING, expires_at=1000.0 + DAY))
    stamps.append(keys.stamp(connection))
    keys.rotate(connection, "me", "sk-2", overlap_seconds=3600, actor="uid:0", now=1001.0)
    stamps.append(keys.stamp(connection))
    for which in (keys.all_keys(connection)[0].id, "me"):
        keys.revoke(connection, which, actor="uid:0", now=1002.0)
        stamps.append(keys.stamp(connection))
    keys.take_in(connection, {digest_of(b"sk-3"): "you"}, ASKING, 1003.0)
    stamps.append(keys.stamp(connection))
    assert len({*stamps}) == len(stamps)
    assert keys.stamp(connection) == stamps[-1]


def test_every_change_is_in_the_audit_log(connection: Connection) -> None:
    first = give(connection, "me", "sk-1")
    second, _ = keys.rotate(connection, "me", "sk-2", overlap_seconds=DAY, actor="uid:7", now=1001.0)
    keys.revoke(connection, first.id, actor="uid:0", now=1002.0)
    keys.take_in(connection, {digest_of(b"sk-3"): "you"}, ASKING, 1003.0)
    (yours,) = [key for key in keys.all_keys(connection) if key.consumer == "you"]
    assert audited(connection) == [
        ("uid:0", "key.add", f"me {first.id}", "done"),
        ("uid:7", "key.expire", f"me {first.id}", "done"),
        ("uid:7", "key.add", f"me {second.id}", "done"),
        ("uid:0", "key.revoke", f"me {first.id}", "done"),
        (FILE_ACTOR, "key.add", f"you {yours.id}", "done"),
    ]
