"""A secret follows its file, and outlives what is wrong with it."""

import asyncio
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
