"""One proxy with a recording agent and dashboard behind it, and what it logged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.proxy_command import ProxyCommand, proxy_command
from doubles.proxy_log import Log
from doubles.recording_upstream import RecordingUpstream, recording_upstream
from doubles.running_proxy import RunningProxy, running_proxy
from switchboard_proxy.settings import Profile


@pytest.fixture
async def agent() -> AsyncIterator[RecordingUpstream]:
    async with recording_upstream() as upstream:
        yield upstream


@pytest.fixture
async def dashboard() -> AsyncIterator[RecordingUpstream]:
    async with recording_upstream() as upstream:
        yield upstream


@pytest.fixture
async def proxy(agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path) -> AsyncIterator[RunningProxy]:
    async with running_proxy(tmp_path, {"default": Profile(port=agent.port)}, dashboard.port) as running:
        yield running


@pytest.fixture
def log(proxy: RunningProxy) -> Log:
    return proxy.log


@pytest.fixture
async def command(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> AsyncIterator[ProxyCommand]:
    (tmp_path / "secrets").mkdir()
    async with proxy_command(tmp_path / "secrets", agent_port=agent.port, dashboard_port=dashboard.port) as running:
        yield running
