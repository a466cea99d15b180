"""One proxy with a recording agent and dashboard behind it, and what it logged."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from switchboard_proxy import app
from switchboard_proxy.settings import Profile

from doubles.recording_upstream import RecordingUpstream, recording_upstream
from doubles.running_proxy import RunningProxy, running_proxy


class Log:
    """The proxy's log lines as they are written, each a mapping."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    kept = Log()
    monkeypatch.setattr(app, "_log", kept)
    return kept


@pytest.fixture
async def agent() -> AsyncIterator[RecordingUpstream]:
    async with recording_upstream() as upstream:
        yield upstream


@pytest.fixture
async def dashboard() -> AsyncIterator[RecordingUpstream]:
    async with recording_upstream() as upstream:
        yield upstream


@pytest.fixture
async def proxy(
    agent: RecordingUpstream, dashboard: RecordingUpstream, log: Log, tmp_path: Path
) -> AsyncIterator[RunningProxy]:
    async with running_proxy(tmp_path, {"default": Profile(port=agent.port)}, dashboard.port) as running:
        yield running
