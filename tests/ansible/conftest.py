"""A failed test shows what its machines and playbooks last said; nothing stays behind in the engine."""

from collections.abc import Generator, Iterator

import docker
import pytest
from ansible.site import Site
from containers.engine import leftovers


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine. At the end nothing of ours may be left there."""
    client = docker.from_env()
    try:
        yield client
        assert not leftovers(client)
    finally:
        client.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show journals and the end of the last playbook beside a failure."""
    report = yield
    if report.failed:
        for site in getattr(item, "funcargs", {}).values():
            if isinstance(site, Site):
                report.sections += [(f"machine {name}", words) for name, words in site.last_words().items()]
    return report
