"""A stage for the tests that run over loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coordinator.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as stage:
        yield stage
