import asyncio
import sys
from uuid import uuid4

import pytest

from real_agent import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a mark is seen in /proc: run it on Linux")


async def test_a_process_left_behind_is_named_and_ended() -> None:
    run = uuid4().hex
    left = await asyncio.create_subprocess_exec("sleep", "60", env={processes.MARK: run})

    assert processes.marked(run) == [left.pid]
    with pytest.raises(processes.LeftBehind, match=f"the stage left behind: {left.pid} sleep 60"):
        processes.check_none_left(run, "the stage")

    assert await left.wait() == -9
    processes.check_none_left(run, "the stage")
