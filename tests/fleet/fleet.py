"""Three machines and a coordinator: written down, started, waited for, ended."""

import json
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import yaml
from free_ports import port
from switchboard_coordinator.keys.consumers_file import add_consumer
from waiting import until

from fleet.places import LOOPBACK, addresses
from fleet.process import Process

START_SECONDS = 30.0


@dataclass(frozen=True)
class Machine:
    """One simulated machine: `profiles` is name → capabilities. More than one share one gateway."""

    name: str
    profiles: dict[str, list[str]]


MACHINES = (
    Machine("nas", {"default": ["home"], "work": ["code"]}),
    Machine("laptop", {"default": ["code"]}),
    Machine("tower", {"default": ["gpu"]}),
)


class Fleet:
    """A running fleet, all its files under `folder`; a context manager. `url` and `key_file` are for clients."""

    def __init__(self, folder: Path, machines: Sequence[Machine] = MACHINES) -> None:
        self.key_file = folder / "key"
        self._folder, self._machines = folder, machines
        self._secrets = folder / "secrets"
        self._port = port(LOOPBACK, wanted=9120)
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._peers: dict[str, object] = {}
        self._processes: list[Process] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._secrets.mkdir(mode=0o700)
        try:
            for machine, host in zip(self._machines, addresses(len(self._machines)), strict=True):
                await self._start_machine(machine, host)
            await self._start_coordinator()
            await self._ready()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def check(self) -> None:
        """Raises Ended when one of its programs is gone."""
        for process in self._processes:
            process.check()

    async def _start_machine(self, machine: Machine, host: str) -> None:
        api_port, dashboard_port = port(LOOPBACK), port(LOOPBACK)
        proxy_port = port(host, wanted=9121)
        folder = self._secrets / machine.name
        folder.mkdir(mode=0o700)
        password, key = _secret(folder / "proxy_password"), _secret(folder / "api_server_key")
        is_shared = len(machine.profiles) > 1
        agent = {
            "NAME": machine.name,
            "API_PORT": str(api_port),
            "DASHBOARD_PORT": str(dashboard_port),
            "KEY_FILE": str(key),
            "PROFILES": ",".join(machine.profiles),
            "MULTIPLEX": "yes" if is_shared else "no",
        }
        await self._start(f"{machine.name}-agent", "switchboard-mock-agent", prefix="MOCK_AGENT", env=agent)
        proxy = {
            "LISTEN_ADDRESS": host,
            "PORT": str(proxy_port),
            "SECRETS_FOLDER": str(folder),
            "DASHBOARD_PORT": str(dashboard_port),
            "PROFILES": json.dumps(
                {
                    profile: {"port": api_port, "prefix": "" if profile == "default" else f"/p/{profile}"}
                    for profile in machine.profiles
                }
            ),
        }
        await self._start(f"{machine.name}-proxy", "switchboard-proxy", "serve", prefix="PROXY", env=proxy)
        self._peers[machine.name] = {
            "host": host,
            "port": proxy_port,
            "password_file": str(password),
            "profiles": {profile: {"capabilities": told} for profile, told in machine.profiles.items()},
        }

    async def _start_coordinator(self) -> None:
        peers_file = self._folder / "peers.yaml"
        peers_file.write_text(yaml.safe_dump({"peers": self._peers}, sort_keys=False))
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(add_consumer(self._secrets / "consumers", "me"))
        coordinator = {
            "LISTEN_ADDRESS": LOOPBACK,
            "PORT": str(self._port),
            "PEERS_FILE": str(peers_file),
            "DATABASE_FILE": str(peers_file.with_name("switchboard.db")),
            "SECRETS_FOLDER": str(self._secrets),
        }
        await self._start("coordinator", "switchboard", "serve", prefix="COORDINATOR", env=coordinator)

    async def _start(self, name: str, *command: str, prefix: str, env: dict[str, str]) -> None:
        ours = {f"SWITCHBOARD_{prefix}_{key}": value for key, value in env.items()}
        process = Process(name, *command, env=ours, log=self._folder / f"{name}.log")
        self._processes.append(await self._stack.enter_async_context(process))

    async def _ready(self) -> None:
        """Until the coordinator has found every peer up."""
        headers = {"authorization": f"Bearer {self.key_file.read_text()}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as client:

            async def is_up() -> bool:
                self.check()
                try:
                    answer = await client.get("/api/peers")
                except httpx.TransportError:
                    return False
                return all(peer["state"] == "up" for peer in answer.json()["peers"])

            await until(is_up, seconds=START_SECONDS)


def _secret(file: Path) -> Path:
    file.touch(mode=0o600)
    file.write_text(secrets.token_urlsafe(24))
    return file
