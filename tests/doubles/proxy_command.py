"""The real command `switchboard-proxy serve` in a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from doubles.running_proxy import KEY, PASSWORD, RunningDoor, write_secret
from free_ports import port as free_port
from waiting import until

COMMAND = Path(sys.executable).parent / "switchboard-proxy"


class ProxyCommand(RunningDoor):
    """A proxy in its own process; `lines` is what it wrote to standard output, once it has ended."""

    def __init__(self, port: int, process: asyncio.subprocess.Process, folder: Path) -> None:
        super().__init__(port)
        self.process = process
        self.secrets = folder
        self.output = folder.with_suffix(".log")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, seconds: float = 20) -> int:
        """Its exit status."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def resident_bytes(self) -> int:
        """The memory that it has now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged so far of one kind."""
        told = [json.loads(line) for line in self.output.read_text().splitlines()]
        return [line for line in told if line["event"] == event]


@asynccontextmanager
async def proxy_command(
    folder: Path,
    *,
    agent_port: int,
    dashboard_port: int,
    environment: Mapping[str, str] = MappingProxyType({}),
    **settings: str,
) -> AsyncIterator[ProxyCommand]:
    """The command with secrets in `folder`, once it answers.

    `settings` come without their prefix, `environment` is for what runs the command.
    """
    write_secret(folder / "proxy_password", PASSWORD)
    write_secret(folder / "api_server_key", KEY)
    port = free_port("127.0.0.1")
    told = {
        "LISTEN_ADDRESS": "127.0.0.1",
        "PORT": str(port),
        "SECRETS_FOLDER": str(folder),
        "PROFILES": json.dumps({"default": {"port": agent_port}}),
        "DASHBOARD_PORT": str(dashboard_port),
        **settings,
    }
    environ = {f"SWITCHBOARD_PROXY_{name}": value for name, value in told.items()}
    environ |= {"PATH": os.environ["PATH"], **environment}
    with folder.with_suffix(".log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(COMMAND, "serve", env=environ, stdout=output)
    proxy = ProxyCommand(port, process, folder)
    try:
        await until(proxy.is_ready, seconds=20)
        yield proxy
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
