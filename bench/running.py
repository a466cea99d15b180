"""A process on one core: started, waited for, weighed, and ended by its pid with everything it started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

START_SECONDS, STOP_SECONDS = 60.0, 10.0


class NotRunning(Exception):
    """A system did not come up, or went away; the words say which and what it last wrote."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A command pinned to `core` that listens on `port`, with its output in `log`; leaving the context ends it.

    Of our own environment it sees PATH alone, and what `env` adds.
    """

    def __init__(self, command: Sequence[str], *, core: int, port: int, log: Path, env: Mapping[str, str]) -> None:
        self.port, self._log, self._name = port, log, Path(command[0]).name
        self._started_at = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], **env},
                start_new_session=True,  # so that what it started can be ended with it
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last_words = " / ".join(self._log.read_text(errors="replace").splitlines()[-5:])
                raise NotRunning(f"{self._name} did not start listening on port {self.port}: {last_words}")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def started_at(self) -> float:
        """When it was started, on the clock of time.monotonic()."""
        return self._started_at

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until it computes nothing any more, so that what it still does is not done at the cost of the next."""
        deadline, before = time.monotonic() + seconds, -1.0
        while (now := self.cpu_seconds()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(0.1)

    def cpu_seconds(self) -> float:
        """Processor time that the process and all it started have taken, as the kernel tells it: in ticks of 10 ms."""
        return sum(_ticks(pid) for pid in self._family()) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Resident memory of the process and all it started."""
        return sum(_resident_bytes(pid) for pid in self._family())

    def stop(self) -> None:
        """SIGTERM, a grace time, then SIGKILL for whatever of its session is left."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _family(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _session(entry) == self._process.pid]


def _session(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):  # it ended between the listing and the reading
        return None


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, IndexError):
        return 0


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
