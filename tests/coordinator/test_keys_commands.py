"""`switchboard keys`, as a person types it."""

import asyncio
import io
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from switchboard_coordinator.command.keys_commands import app
from switchboard_coordinator.database import open_blocking
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.consumers_file import read_consumers
from switchboard_coordinator.keys.keys import Key, digest_of

Run = Callable[..., int]


class Shell:
    """Runs `keys` on one database; `out` and `err` are what the last command wrote."""

    def __init__(self, capture: pytest.CaptureFixture[str], database: Path) -> None:
        self.database = database
        self.out = self.err = ""
        self._capture = capture

    def run(self, *words: str) -> int:
        """The exit status."""
        self._capture.readouterr()
        try:
            app(words)
        except SystemExit as ended:
            self.out, self.err = self._capture.readouterr()
            return int(ended.code or 0)
        raise AssertionError("a command ends by itself")

    def kept(self) -> list[Key]:
        """The keys in the database."""
        engine = open_blocking(self.database)
        with engine.begin() as connection:
            found = keys.all_keys(connection)
        engine.dispose()
        return found


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    database = tmp_path / "switchboard.db"
    monkeypatch.setenv("SWITCHBOARD_COORDINATOR_DATABASE_FILE", str(database))
    return Shell(capsys, database)


def private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def test_add_makes_the_database_and_prints_a_key_once(shell: Shell) -> None:
    assert shell.run("add", "me") == 0
    assert shell.err == ""
    assert stat.S_IMODE(shell.database.stat().st_mode) == 0o600
    (key,) = shell.kept()
    assert (key.consumer, key.digest, key.state(time.time())) == ("me", digest_of(shell.out.strip().encode()), "live")
    assert str(key.grant.scopes) == "*"
    assert (key.grant.moves, key.grant.turns_per_minute, key.grant.expires_at) == ("ask", None, None)
    assert shell.out.strip().encode() not in shell.database.read_bytes()


def test_add_takes_what_the_key_is_good_for(shell: Shell, tmp_path: Path) -> None:
    own = private(tmp_path / "key", "sk-switchboard-a-key-of-mine\n")
    words = ("--scope", "any@gpu", "--scope", "admin", "--rate", "30", "--expires", "30d", "--moves", "follow")
    assert shell.run("add", "me", *words, "--key-file", str(own)) == 0
    assert shell.out == ""
    (key,) = shell.kept()
    assert key.digest == digest_of(b"sk-switchboard-a-key-of-mine")
    assert key.grant.scopes.words == ("any@gpu", "admin")
    assert (key.grant.moves, key.grant.turns_per_minute) == ("follow", 30)
    assert key.grant.expires_at == pytest.approx(key.created_at + 30 * 86400)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "me", "--scope", "nas"), "'nas': a scope is"),
        (("add", "My Laptop"), "'My Laptop' is no name"),
        (("add", "you"), "you has a key already: `switchboard keys rotate you` gives it a new one"),
        (("add", "me", "--expires", "soon"), "a duration is a number and s, m, h, d or w"),
        (("add", "me", "--rate", "0"), "--rate"),
        (("add", "me", "--moves", "never"), "--moves"),
        (("add", "me", "--file", "consumers", "--rate", "1"), "a consumers file holds names alone"),
        (("rotate", "he"), "'he' has no key that counts: `switchboard keys add he` gives it one"),
        (("revoke", "he"), "there is no key and no consumer 'he'"),
    ],
)
def test_a_command_that_is_wrong_exits_2_and_changes_nothing(shell: Shell, words: tuple[str, ...], told: str) -> None:
    assert shell.run("add", "you") == 0
    before = shell.kept()
    assert shell.run(*words) == 2
    assert told in " ".join(shell.err.split())
    assert shell.out == ""
    assert shell.kept() == before


def test_a_database_that_cannot_be_used_exits_1_and_is_told(shell: Shell, tmp_path: Path) -> None:
    none = tmp_path / "no" / "x.db"
    assert shell.run("add", "me", "--database", str(none)) == 1
    assert f"{none.parent} is no folder" in shell.err
    for words in (("list",), ("revoke", "me"), ("rotate", "me")):
        assert shell.run(*words) == 1
        assert shell.err == f"switchboard: there is no database {shell.database}: name it with --database\n"
    assert not shell.database.exists()
    other = private(tmp_path / "other.db", "this is no database, whatever it is called" * 50)
    assert shell.run("list", "--database", str(other)) == 1
    assert f"{other} cannot be used: file is not a database" in shell.err


def test_list_shows_every_key_and_how_it_is(shell: Shell) -> None:
    assert shell.run("add", "me", "--scope", "any@gpu", "--scope", "raw:nas", "--rate", "7") == 0
    secret = shell.out.strip()
    assert shell.run("add", "you", "--expires", "0s") == 0
    assert shell.run("add", "he", "--moves", "follow") == 0
    assert shell.run("revoke", "he") == 0
    assert shell.run("list") == 0
    he, me, you = (line.split() for line in shell.out.splitlines()[1:])
    ids = {key.consumer: key.id for key in shell.kept()}
    assert he[:3] == ["he", ids["he"], "revoked"]
    assert "follow" in he
    assert me[:4] == ["me", ids["me"], "live", "7"]
    assert me[-2:] == ["any@gpu", "raw:nas"]
    assert you[:3] == ["you", ids["you"], "expired"]
    assert secret not in shell.out
    assert digest_of(secret.encode()) not in shell.out


def test_rotate_prints_a_new_key_and_says_how_long_the_old_one_counts(shell: Shell) -> None:
    assert shell.run("add", "me", "--scope", "any@gpu") == 0
    assert shell.run("rotate", "me", "--overlap", "2h") == 0
    old, new = shell.kept()
    assert new.digest == digest_of(shell.out.strip().encode())
    assert new.grant.scopes == old.grant.scopes
    assert old.grant.expires_at == pytest.approx(new.created_at + 7200)
    assert shell.err.startswith(f"{old.id}, the key before, counts until 20")
    assert shell.run("rotate", "me", "--overlap", "0s") == 0
    now = time.time()
    assert [key.state(now) for key in shell.kept()] == ["expired", "expired", "live"]


def test_a_key_counts_for_a_day_beside_the_one_that_replaces_it(shell: Shell) -> None:
    assert shell.run("add", "me") == 0
    assert shell.run("rotate", "me") == 0
    old, new = shell.kept()
    assert old.grant.expires_at == pytest.approx(new.created_at + 86400)


def test_revoke_ends_all_keys_of_a_consumer_or_one(shell: Shell) -> None:
    assert shell.run("add", "me") == 0
    assert shell.run("rotate", "me") == 0
    old, new = shell.kept()
    assert shell.run("revoke", old.id) == 0
    assert shell.err == f"revoked {old.id} of me\n"
    assert shell.run("revoke", "me") == 0
    assert shell.err == f"revoked {new.id} of me\n"
    assert shell.run("revoke", "me") == 0
    assert shell.err == "me was revoked already\n"
    assert [key.state(time.time()) for key in shell.kept()] == ["revoked", "revoked"]


def test_a_consumers_file_is_written_as_before(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "consumers"
    assert shell.run("add", "me", "--file", str(file)) == 0
    consumer = read_consumers(file).who(f"Bearer {shell.out.strip()}".encode())
    assert consumer is not None
    assert consumer.name == "me"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    own = private(tmp_path / "key", "sk-switchboard-a-key-of-mine")
    assert shell.run("add", "you", "--file", str(file), "--key-file", str(own)) == 0
    assert shell.out == ""
    consumer = read_consumers(file).who(b"Bearer sk-switchboard-a-key-of-mine")
    assert consumer is not None
    assert consumer.name == "you"
    assert shell.run("add", "me", "--file", str(file)) == 2
    assert "has a key" in shell.err
    assert shell.run("add", "he", "--file", str(tmp_path / "no" / "consumers")) == 1
    own.chmod(0o644)
    assert shell.run("add", "he", "--file", str(file), "--key-file", str(own)) == 2
    assert "open to group or others" in shell.err
    assert not shell.database.exists()


def test_a_key_of_ones_own_comes_on_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-switchboard-a-key-of-mine\n"))
    assert shell.run("add", "me", "--key-file", "-") == 0
    assert shell.out == ""
    assert [key.consumer for key in shell.kept()] == ["me"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("too short\n"))
    assert shell.run("add", "you", "--key-file", "-") == 2
    assert "standard input" in shell.err


async def test_a_command_waits_for_a_moments_writing_and_gives_up_on_a_longer_one(shell: Shell) -> None:
    assert shell.run("add", "me") == 0
    engine = open_blocking(shell.database)
    with engine.connect() as other:
        other.exec_driver_sql("begin immediate")
        adding = asyncio.create_task(asyncio.to_thread(shell.run, "add", "you"))
        await asyncio.sleep(0.2)
        other.rollback()
        assert await adding == 0
        other.exec_driver_sql("begin immediate")
        assert shell.run("add", "he") == 1
        assert f"{shell.database} cannot be used: database is locked" in shell.err
        other.rollback()
    engine.dispose()
