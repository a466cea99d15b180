"""Thousands of cancels of one coordinator process: what it holds afterwards is what it held before."""

import os
from pathlib import Path

from chance import as_many, seeded
from coordinator.storm import Storm, is_settled
from waiting import until

from crash.stage import CrashStage

CANCELS, CANCELS_AT_LENGTH = 500, 10_000
WARM = 1000
"""Until the caches of a process are as full as they get."""
SOME = 30
"""Idle connections, eight turns at a time. A socket for each cancel would be far more."""


def held(pid: int) -> tuple[int, int]:
    """Bytes of memory, and open files."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_a_coordinator_grows_with_no_cancel(stage: CrashStage) -> None:
    storm = await Storm.laid(stage, seeded())
    await storm.run(WARM)
    await until(lambda: is_settled(stage), seconds=10)
    memory, files = held(stage.pid)
    await storm.run(as_many(CANCELS, CANCELS_AT_LENGTH))
    await until(lambda: is_settled(stage), seconds=10)
    await until(lambda: held(stage.pid)[1] <= files + SOME, seconds=10)
    grown = held(stage.pid)[0] / memory - 1
    storm.check()
    print(f"{memory / 2**20:.0f} MiB, grown by {grown:.1%}; {files} open files")
    assert grown < 0.05
