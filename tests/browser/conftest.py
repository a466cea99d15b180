from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from browser.chromium import chromium, program
from browser.stage import NAME, STRANGER, Stage, Way

STAGE: pytest.StashKey[Stage] = pytest.StashKey()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(tmp_path_factory.mktemp("browser")) as stage:
        request.config.stash[STAGE] = stage
        yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    executable = program()
    if executable is None:
        pytest.skip("there is no Chromium: run make chromium, then .venv/bin/pytest tests/browser")
    async with chromium(executable, [NAME, STRANGER]) as browser:
        yield browser


@pytest.fixture(params=["directly", "proxied"])
def way(request: pytest.FixtureRequest, stage: Stage) -> Way:
    """What holds on loopback holds through the proxy."""
    return stage.directly if request.param == "directly" else stage.proxied


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the ends of all logs."""
    report = yield
    stage = item.config.stash.get(STAGE, None)
    if report.failed and stage is not None:
        report.sections += [(f"log of {name}", log) for name, log in stage.last_words().items()]
    return report
