"""A secret follows its file, and outlives what is wrong with it."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from switchboard_service.secret_file import SecretError, SecretFile
from switchboard_service.watched import WatchedSecret, watch
from waiting import until

FIRST, SECOND = "the-first-secret-0123", "the-second-secret-0123"


def write(path: Path, value: str, mode: int = 0o400) -> None:
    path.with_suffix(".new").write_text(value)
    path.with_suffix(".new").chmod(mode)
    path.with_suffix(".new").rename(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "secret", FIRST)
    return tmp_path / "secret"


def test_it_is_read_anew_when_its_file_changed(path: Path) -> None:
    secret = WatchedSecret(SecretFile(path))
    assert (secret.value, secret.refresh_if_changed()) == (FIRST, False)
    write(path, SECOND)
    assert (secret.refresh_if_changed(), secret.value) == (True, SECOND)
    write(path, SECOND)
    assert (secret.refresh_if_changed(), secret.value) == (False, SECOND)


@pytest.mark.parametrize("fault", ["missing", "empty", "short", "open"])
def test_what_is_unfit_leaves_the_last_one_in_force_and_is_told_once(fault: str, path: Path) -> None:
    secret = WatchedSecret(SecretFile(path))
    if fault == "missing":
        path.unlink()
    else:
        write(path, {"empty": "", "short": "abc", "open": SECOND}[fault], 0o444 if fault == "open" else 0o400)
    with capture_logs() as told:
        assert [secret.refresh_if_changed() for _ in range(3)] == [False] * 3
    assert (secret.value, len(told), str(path) in told[0]["problem"]) == (FIRST, 1, True)
    assert SECOND not in str(told)
    write(path, SECOND)
    assert (secret.refresh_if_changed(), secret.value) == (True, SECOND)


def test_an_optional_one_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "next"
    secret = WatchedSecret(SecretFile(path), optional=True)
    assert secret.value is None
    write(path, FIRST)
    assert secret.refresh_if_changed()
    assert str(secret.value) == FIRST
    path.unlink()
    assert secret.refresh_if_changed()
    assert secret.value is None


def test_an_optional_one_that_became_unfit_counts_no_more_once_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "next"
    write(path, FIRST)
    secret = WatchedSecret(SecretFile(path), optional=True)
    write(path, "")
    with capture_logs():
        assert not secret.refresh_if_changed()
    assert str(secret.value) == FIRST
    path.unlink()
    assert secret.refresh_if_changed()
    assert secret.value is None


def test_a_file_opened_to_others_in_place_is_told_and_mended_in_place(path: Path) -> None:
    secret = WatchedSecret(SecretFile(path))
    path.chmod(0o444)
    with capture_logs() as told:
        assert not secret.refresh_if_changed()
    assert ["open to group or others" in line["problem"] for line in told] == [True]
    path.chmod(0o600)
    path.write_text(SECOND)
    assert (secret.refresh_if_changed(), secret.value) == (True, SECOND)


def test_new_text_under_the_old_modification_time_is_seen(path: Path) -> None:
    path.chmod(0o600)
    secret, before = WatchedSecret(SecretFile(path)), path.stat()
    path.write_text(FIRST[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (secret.refresh_if_changed(), secret.value) == (True, FIRST[::-1])


def test_what_is_unfit_is_told_again_when_it_is_unfit_in_another_way_or_anew(path: Path) -> None:
    secret = WatchedSecret(SecretFile(path))
    with capture_logs() as told:
        for value in ("", "", "abc", SECOND, ""):
            write(path, value)
            secret.refresh_if_changed()
    assert [words in line["problem"] for words, line in zip(("empty", "short", "empty"), told, strict=True)] == [
        True
    ] * 3


def test_at_the_start_it_must_be_fit(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="missing"):
        WatchedSecret(SecretFile(tmp_path / "none"))
    write(tmp_path / "next", "short")
    with pytest.raises(SecretError, match="too short"):
        WatchedSecret(SecretFile(tmp_path / "next"), optional=True)


@pytest.mark.parametrize("is_told_to_look", [False, True])
async def test_whoever_uses_it_is_told_of_a_change(is_told_to_look: bool, path: Path) -> None:
    secret, look, changes = WatchedSecret(SecretFile(path)), asyncio.Event(), []
    seconds = 3600 if is_told_to_look else 0.02
    watching = asyncio.create_task(watch([secret], lambda: changes.append(secret.value), look=look, seconds=seconds))
    write(path, SECOND)
    if is_told_to_look:
        look.set()
    await until(lambda: changes == [SECOND], seconds=5)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
