"""A proxy with witnesses behind it: the real command as a process of its own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from doubles.raw_client import RawClient
from doubles.running_proxy import KEY, PASSWORD, write_secret
from fleet.process import Process
from free_ports import port as free_port
from waiting import until

from .experiment import Experiment
from .passage import NAME, Proxy
from .witness import witnesses

START_SECONDS = 20.0


@asynccontextmanager
async def proxy_process() -> AsyncIterator[Experiment]:
    """The command `switchboard-proxy serve` with every side switched on, until the block ends. It logs to nowhere."""
    async with witnesses() as behind:
        with tempfile.TemporaryDirectory() as folder:
            write_secret(Path(folder, "proxy_password"), PASSWORD)
            write_secret(Path(folder, "api_server_key"), KEY)
            port = free_port("127.0.0.1")
            settings = {
                "LISTEN_ADDRESS": "127.0.0.1",
                "PORT": str(port),
                "NAMES": NAME,
                "SECRETS_FOLDER": folder,
                "PROFILES": f'{{"default": {{"port": {behind.ports["agent"]}}}}}',
                "DASHBOARD_PORT": str(behind.ports["dashboard"]),
                "WEBUI": "yes",
                "WEBUI_PORT": str(behind.ports["webui"]),
            }
            env = {f"SWITCHBOARD_PROXY_{name}": value for name, value in settings.items()}
            async with Process("proxy", "switchboard-proxy", "serve", env=env, log=Path("/dev/null")) as process:

                async def is_there() -> bool:
                    process.check()
                    with suppress(ConnectionError):
                        async with RawClient(port):
                            return True
                    return False

                await until(is_there, seconds=START_SECONDS)
                yield Experiment(Proxy(port), behind)
