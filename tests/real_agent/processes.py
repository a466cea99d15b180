"""The processes of one agent or one stage, children of children too: they are known by a mark in their environment.

A mark is seen in /proc; where there is none, only the processes that we started ourselves are known.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "REAL_AGENT_RUN"


class LeftBehind(AssertionError):
    """A process outlived what started it."""


def marked(run: str) -> list[int]:
    """The pids of all processes that carry the mark of `run` and have not ended."""
    needle = f"{MARK}={run}".encode()
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if needle in _environment(entry)]


def check_none_left(run: str, name: str) -> None:
    """End what carries the mark of `run`, by pid. Raises LeftBehind when there is any."""
    left = marked(run)
    if left:
        told = [f"{pid} {' '.join(command(pid))}" for pid in left]
        kill(left)
        raise LeftBehind(f"{name} left behind: {'; '.join(told)}")


def command(pid: int) -> list[str]:
    """The command line of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def kill(pids: list[int]) -> None:
    """SIGKILL, by pid."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _environment(process: Path) -> list[bytes]:
    try:  # of a process that has ended and is not yet reaped it is empty
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
