"""What a peer's proxy is shown while the password changes."""

import asyncio
from pathlib import Path

import pytest
from coordinator.stage import Stage, private
from structlog.testing import capture_logs
from switchboard_coordinator.peers import watch
from switchboard_coordinator.peers.credential import LOOK_SECONDS, Credential
from switchboard_service.secret_file import SecretFile
from waiting import until

OLD, NEW = "an-old-password-0123456789", "a-new-password-0123456789ab"


class Clock:
    """Stands still until it is moved on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return private(tmp_path / "password", OLD)


def replace(file: Path, text: str) -> None:
    """As a careful operator does it, and Ansible: a rename."""
    private(file.with_suffix(".new"), text).rename(file)


def test_a_file_that_changed_is_read_again_though_nothing_was_refused_and_no_more_than_once_a_second(
    file: Path, clock: Clock
) -> None:
    credential = Credential("coordinator", SecretFile(file), clock)
    old = credential.header()
    replace(file, NEW)
    clock.now += LOOK_SECONDS / 2
    assert credential.header() == old
    clock.now += LOOK_SECONDS / 2
    new = credential.header()
    assert new not in (None, old)
    replace(file, OLD)
    assert credential.header() == new
    clock.now += LOOK_SECONDS
    assert credential.header() == old


def test_a_file_that_is_missing_or_unfit_for_a_while_leaves_the_old_pair_and_is_told_once(
    file: Path, clock: Clock
) -> None:
    credential = Credential("coordinator", SecretFile(file), clock)
    old = credential.header()
    file.unlink()
    clock.now += LOOK_SECONDS
    assert credential.header() == old
    with capture_logs() as logs:
        for _ in range(3):
            private(file, "short")
            clock.now += LOOK_SECONDS
            assert credential.header() == old
    assert [line["event"] for line in logs] == ["secret_unfit"]
    private(file, NEW)
    clock.now += LOOK_SECONDS
    assert credential.header() not in (None, old)


def test_a_refused_pair_is_shown_again_as_soon_as_its_file_changed(file: Path, clock: Clock) -> None:
    credential = Credential("coordinator", SecretFile(file), clock)
    credential.refuse(credential.header())
    assert credential.header() is None
    replace(file, NEW)
    assert credential.header() is not None


async def test_a_password_is_rotated_under_steady_turns_and_none_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "UP_SECONDS", 0.05)
    await stage.machine("nas", max_turns=8)
    await stage.start()
    proxy, statuses, is_over = stage.proxies["nas"].app, [], False

    def look_at_files() -> None:
        for secret in proxy.secrets:
            secret.refresh()
        proxy.renew()

    async def load() -> None:
        while not is_over:
            statuses.append((await stage.ask("nas", "hi")).status_code)

    async def some_more_shown(which: str) -> None:
        async def is_shown() -> bool:
            return bool((await stage.peers())["nas"]["credential"] == which)

        await until(is_shown, seconds=20)
        seen = len(statuses)
        await until(lambda: len(statuses) > seen + 5, seconds=20)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(load())
        await some_more_shown("current")
        private(stage.folder / "nas" / "proxy_password_next", NEW)
        look_at_files()
        replace(stage.secrets / "nas_password", NEW)
        await some_more_shown("next")
        (stage.folder / "nas" / "proxy_password_next").rename(stage.folder / "nas" / "proxy_password")
        look_at_files()
        await some_more_shown("current")
        is_over = True
    assert set(statuses) == {200}
