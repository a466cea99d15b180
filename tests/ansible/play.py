"""A playbook that runs, and what it came to."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COUNTS = re.compile(r"^(\S+)\s*:((?: +\w+=\d+)+)\s*$", re.MULTILINE)
PLAY_SECONDS = 1800.0
TASK = ("TASK [", "RUNNING HANDLER [")
"""How a line begins that names the task which starts."""

Point = int | tuple[str, int]
"""Where a run is killed: at the start of a task, counted from 1; or how a line begins, and at which of those."""


@dataclass(frozen=True)
class Play:
    """One run of a playbook to its end, or to where it was killed (`exit_code` -9)."""

    exit_code: int
    output: str
    seconds: float
    log: Path

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Per machine the counts of the recap: ok, changed, unreachable, failed, skipped, rescued, ignored."""
        _, _, told = self.output.rpartition("PLAY RECAP")
        return {
            host: {name: int(count) for name, count in (pair.split("=") for pair in counts.split())}
            for host, counts in COUNTS.findall(told)
        }

    @property
    def tasks(self) -> int:
        """How many there were."""
        return sum(line.startswith(TASK) for line in self.output.splitlines())

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all machines together."""
        return sum(counts["changed"] for counts in self.recap.values())

    def succeeded(self) -> "Play":
        """Itself, where every machine came through; else an AssertionError with the end of its output."""
        assert self.exit_code == 0, f"exit code {self.exit_code} after {self.seconds:.0f} s; {self.log}\n{self.end()}"
        return self

    def end(self, lines: int = 60) -> str:
        """The last lines."""
        return "\n".join(self.output.splitlines()[-lines:])


async def play(
    command: Sequence[str], *, folder: Path, env: Mapping[str, str], log: Path, killed_at: Point | None, seconds: float
) -> Play:
    """Run `ansible-playbook`, and kill it where `killed_at` is reached."""
    begins, number = killed_at if isinstance(killed_at, tuple) else (TASK, killed_at)
    begun = time.monotonic()
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**24,
            start_new_session=True,  # its forks die with it
        )
        assert process.stdout is not None
        seen, lines = 0, []
        try:
            async with asyncio.timeout(seconds):
                async for line in process.stdout:
                    lines.append(line)
                    written.write(line)
                    written.flush()
                    seen += line.decode("utf-8", "replace").startswith(begins)
                    if seen == number:
                        os.killpg(process.pid, signal.SIGKILL)
                        number = None
                await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    assert process.returncode is not None
    output = COLOURS.sub("", b"".join(lines).decode("utf-8", "replace"))
    return Play(process.returncode, output, time.monotonic() - begun, log)
