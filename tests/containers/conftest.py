"""One fleet for all tests of this folder; a failed test shows what its containers say; nothing stays behind."""

from collections.abc import AsyncIterator, Generator, Iterator

import docker
import pytest
import pytest_asyncio
from waiting import until

from containers.engine import COORDINATOR_IMAGE, MOCK_AGENT_IMAGE, PROXY_IMAGE, leftovers, ours, states_and_logs
from containers.machines import Fleet, running_fleet


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine, with the images in it. At the end nothing of ours may be left there."""
    client = docker.from_env()
    have = {tag for image in client.images.list() for tag in image.tags}
    missing = {PROXY_IMAGE, COORDINATOR_IMAGE, MOCK_AGENT_IMAGE} - have
    assert not missing, f"{', '.join(sorted(missing))}: make images"
    try:
        yield client
        assert not leftovers(client)
    finally:
        client.close()


@pytest.fixture(scope="session")
def whole_fleet(engine: docker.DockerClient) -> Iterator[Fleet]:
    """The fleet, started."""
    with running_fleet(engine) as fleet:
        yield fleet


@pytest_asyncio.fixture
async def fleet(whole_fleet: Fleet) -> AsyncIterator[Fleet]:
    """The fleet, every machine of it as it was meant to be."""
    try:
        await until(whole_fleet.is_sound, seconds=whole_fleet.patience_seconds)
    except TimeoutError:
        whole_fleet.patience_seconds = 5.0
        raise
    yield whole_fleet


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show states and logs beside a failure."""
    report = yield
    if report.failed:
        client = docker.from_env()
        try:
            report.sections.append(("containers", states_and_logs(ours(client))))
        finally:
            client.close()
    return report
