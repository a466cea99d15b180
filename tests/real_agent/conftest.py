from collections.abc import AsyncIterator, Generator

import httpx
import pytest
import pytest_asyncio

from real_agent.stage import Stage
from real_agent.switchboard import Machine, Switchboard

STAGE: pytest.StashKey[Stage] = pytest.StashKey()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    async with stage:
        request.config.stash[STAGE] = stage
        yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with stage.switchboard.client() as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mistaken(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Switchboard]:
    """Proxies before the same agents, set up wrongly.

    That of nas holds a key that is not the agent's; that of laptop names a profile work, as if its gateway multiplexed.
    """
    machines = [
        Machine(stage.nas, {"default": ""}, "a-key-that-is-not-the-agents-0123"),
        Machine(stage.laptop, {"default": "", "work": "/p/work"}, stage.laptop.key),
    ]
    async with Switchboard(tmp_path_factory.mktemp("mistaken") / "switchboard", machines) as switchboard:
        yield switchboard


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the ends of all logs."""
    report = yield
    stage = item.config.stash.get(STAGE, None)
    if report.failed and stage is not None:
        report.sections += [(f"log of {name}", log) for name, log in stage.last_words().items()]
    return report
