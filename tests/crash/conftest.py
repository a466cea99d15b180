"""A stage whose coordinator can be killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crash.stage import CrashStage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[CrashStage]:
    async with CrashStage(tmp_path) as stage:
        yield stage
