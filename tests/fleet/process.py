"""One program of a fleet: started with its output in a file, ended by its id."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

STOP_SECONDS = 10.0
PROGRAMS = Path(sys.executable).parent


class Ended(Exception):
    """A program ended by itself; the words hold the end of its output."""


class Process:
    """A program of this environment; a context manager that ends it with SIGTERM, and with SIGKILL when it must."""

    def __init__(self, name: str, *command: str, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command, self._env, self._log = command, env, log
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        program, *arguments = self._command
        with self._log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAMS / program,
                *arguments,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **self._env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the fleet, which ends its programs in order
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        await self._process.wait()

    def check(self) -> None:
        """Raises Ended when the program is gone."""
        if self._process.returncode is not None:
            words = " / ".join(self._log.read_text(errors="replace").splitlines()[-5:])
            raise Ended(f"{self.name} ended with status {self._process.returncode}: {words}")
