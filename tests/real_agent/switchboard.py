"""What stands before the agents: a proxy for each machine, and the coordinator, as the processes that hosts run."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import yaml
from fleet.places import LOOPBACK, addresses
from fleet.process import Process
from free_ports import port
from switchboard_coordinator.keys.consumers_file import add_consumer
from waiting import until

from real_agent import processes
from real_agent.agent import ANSWER_SECONDS, RealAgent

START_SECONDS = 30.0
UNUSED_PORT = 9  # the discard port: a machine without a dashboard


@dataclass(frozen=True)
class Machine:
    """An agent as its proxy sees it. `prefixes` is profile → prefix; `key` is what the proxy holds as its key."""

    agent: RealAgent
    prefixes: Mapping[str, str]
    key: str
    capabilities: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Door:
    """A machine's proxy as its clients see it."""

    host: str
    port: int
    password: str

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def client(self) -> httpx.AsyncClient:
        """A client with the proxy's Basic pair."""
        return httpx.AsyncClient(
            base_url=self.url, auth=("coordinator", self.password), timeout=ANSWER_SECONDS, trust_env=False
        )


class Switchboard:
    """Proxies and a coordinator, all their files under `folder`; a context manager.

    Every peer has been looked at once when it is entered; whether the peers are up is for whoever asks.
    """

    def __init__(self, folder: Path, machines: Sequence[Machine], *, proxy_port: int | None = None) -> None:
        self.doors: dict[str, Door] = {}
        self.key_file = folder / "key"
        self._port = port(LOOPBACK)
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._folder, self._machines, self._wanted = folder, machines, proxy_port
        self._secrets = folder / "secrets"
        self._run = uuid4().hex
        self._peers: dict[str, Any] = {}
        self._processes: dict[str, Process] = {}
        self._programs: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._stack = AsyncExitStack()

    @property
    def key(self) -> str:
        """The key of the consumer `me`."""
        return self.key_file.read_text()

    def client(self) -> httpx.AsyncClient:
        """A client with the key of `me`."""
        return self._client(self.key)

    def client_of_you(self) -> httpx.AsyncClient:
        """A client with the key of the consumer `you`."""
        return self._client(self.key_file.with_name("your-key").read_text())

    def _client(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False)

    @asynccontextmanager
    async def killed(self, name: str) -> AsyncIterator[None]:
        """`coordinator` or `nas-proxy` dies by SIGKILL; when the block is left it is started again, no more."""
        await self._processes[name].kill()
        try:
            yield
        finally:
            await self._start(name, *self._programs[name])

    async def peers(self) -> dict[str, Any]:
        """`GET /api/peers`, by name."""
        async with self.client() as client:
            answer = await client.get("/api/peers")
        return {peer["name"]: peer for peer in answer.json()["peers"]}

    def logs(self) -> dict[str, str]:
        """What each of its processes wrote."""
        return {log.stem: log.read_text(errors="replace") for log in sorted(self._folder.glob("*.log"))}

    async def __aenter__(self) -> Self:
        self._secrets.mkdir(mode=0o700, parents=True)
        try:
            for machine, host in zip(self._machines, addresses(len(self._machines)), strict=True):
                await self._start_proxy(machine, host)
            await self._start_coordinator()
            await until(self._has_looked, seconds=START_SECONDS)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._stack.aclose()
        processes.check_none_left(self._run, "the switchboard")

    async def _start_proxy(self, machine: Machine, host: str) -> None:
        agent = machine.agent
        folder = self._secrets / agent.name
        folder.mkdir(mode=0o700)
        door = Door(host, port(host, self._wanted), secrets.token_hex(16))  # 32 characters, as the seed has it
        private(folder / "proxy_password", door.password)
        private(folder / "api_server_key", machine.key)
        proxy = {
            "LISTEN_ADDRESS": host,
            "PORT": str(door.port),
            "SECRETS_FOLDER": str(folder),
            "DASHBOARD_PORT": str(agent.dashboard_port if agent.has_dashboard else UNUSED_PORT),
            "PROFILES": json.dumps(
                {profile: {"port": agent.api_port, "prefix": prefix} for profile, prefix in machine.prefixes.items()}
            ),
        }
        env = {f"SWITCHBOARD_PROXY_{key}": value for key, value in proxy.items()}
        await self._start(f"{agent.name}-proxy", "switchboard-proxy", env)
        self.doors[agent.name] = door
        self._peers[agent.name] = {
            "host": host,
            "port": door.port,
            "password_file": f"{agent.name}/proxy_password",
            "profiles": {
                profile: {"capabilities": list(machine.capabilities.get(profile, ()))} for profile in machine.prefixes
            },
        }

    async def _start_coordinator(self) -> None:
        peers_file = self._folder / "peers.yaml"
        peers_file.write_text(yaml.safe_dump({"peers": self._peers}, sort_keys=False))
        private(self.key_file, add_consumer(self._secrets / "consumers", "me"))
        private(self.key_file.with_name("your-key"), add_consumer(self._secrets / "consumers", "you"))
        coordinator = {
            "LISTEN_ADDRESS": LOOPBACK,
            "PORT": str(self._port),
            "PEERS_FILE": str(peers_file),
            "DATABASE_FILE": str(peers_file.with_name("switchboard.db")),
            "SECRETS_FOLDER": str(self._secrets),
        }
        env = {f"SWITCHBOARD_COORDINATOR_{key}": value for key, value in coordinator.items()}
        await self._start("coordinator", "switchboard", env)

    async def _start(self, name: str, program: str, env: Mapping[str, str]) -> None:
        self._programs[name] = program, env
        log = self._folder / f"{name}-{len(list(self._folder.glob(f'{name}-?.log'))) + 1}.log"
        process = Process(name, program, "serve", env={**env, processes.MARK: self._run}, log=log)
        self._processes[name] = await self._stack.enter_async_context(process)

    async def _has_looked(self) -> bool:
        for process in self._processes.values():
            process.check()
        try:
            # A first look may come before that peer's proxy listens: then the next one counts.
            return all(peer["since"] and peer["state"] != "down" for peer in (await self.peers()).values())
        except httpx.TransportError:
            return False


def private(file: Path, text: str) -> Path:
    """A file that nobody else may read."""
    file.touch(mode=0o600)
    file.write_text(text)
    return file
