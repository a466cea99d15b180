"""A fleet in containers: machines with a mock agent on their loopback and a proxy at their address, and a coordinator.

As in the simulation a machine is the network namespace of its agent's container, which its proxy joins.
"""

import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
import httpx
from docker.models.containers import Container
from docker.types import EndpointConfig, Mount
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from waiting import until

from .engine import (
    BARE,
    COORDINATOR_IMAGE,
    LABELS,
    MOCK_AGENT_IMAGE,
    PROJECT,
    PROXY_IMAGE,
    SESSION,
    USER,
    free_prefix,
    inside,
)

SECRETS = "/run/switchboard/secrets"
START_SECONDS = 120.0
HEAL_SECONDS = 60.0

VISIT = """
import base64, json, os, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
if os.environ.get("PAIR"):
    request.add_header("Authorization", "Basic " + base64.b64encode(os.environ["PAIR"].encode()).decode())
try:
    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
except urllib.error.URLError as error:
    print(json.dumps({"refused": type(error.reason).__name__}))
    sys.exit()
headers = {name.lower(): value for name, value in answer.headers.items()}
print(json.dumps({"status": answer.status, "headers": headers, "body": answer.read().decode()}))
"""
"""Asks as anyone on the network could; `PAIR` is a user and password."""


@dataclass(slots=True)
class Machine:
    """One simulated machine."""

    name: str
    address: str
    profiles: Mapping[str, tuple[str, ...]]
    """Name to capabilities."""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    shown_password: str | None = None
    """What the coordinator believes the password to be, where that is wrong."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    shown_key: str | None = None
    """What the proxy believes the agent's key to be, where that is wrong."""
    agent: DockerContainer = field(init=False)
    proxy: DockerContainer = field(init=False)

    @property
    def is_sound(self) -> bool:
        """Nothing about it is wrong on purpose."""
        return self.shown_password is None and self.shown_key is None

    @property
    def containers(self) -> tuple[Container, Container]:
        """Its agent's, in whose network namespace everything is, and its proxy's."""
        return self.agent.get_wrapped_container(), self.proxy.get_wrapped_container()

    def files(self) -> dict[str, str]:
        """Path below the secrets' volume to content."""
        return {
            f"{self.name}/agent/api_server_key": self.key,
            f"{self.name}/proxy/api_server_key": self.shown_key or self.key,
            f"{self.name}/proxy/proxy_password": self.password,
            f"coordinator/{self.name}_password": self.shown_password or self.password,
        }

    def entry(self) -> dict[str, Any]:
        """What peers.yaml says of it."""
        profiles = {name: {"capabilities": list(labels)} for name, labels in self.profiles.items()}
        return {"host": self.address, "password_file": f"{self.name}_password", "profiles": profiles}


@dataclass(slots=True)
class Fleet:
    """The running whole."""

    url: str
    key: str
    machines: Mapping[str, Machine]
    coordinator: DockerContainer
    visitor: DockerContainer
    """A container on the machines' network that has no part in the fleet."""
    patience_seconds: float = START_SECONDS
    """How long a test waits for a sound fleet; a fleet that was waited for in vain is not waited for again."""

    def client(self) -> httpx.AsyncClient:
        """A consumer of the coordinator."""
        headers = {"authorization": f"Bearer {self.key}"}
        timeout = httpx.Timeout(None, connect=10)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def visit(self, url: str, pair: str = "") -> dict[str, Any]:
        """Ask something on the machines' network: `status`, `headers`, `body`, or `refused` with the error's name."""
        code, output = inside(self.visitor.get_wrapped_container(), "python3", "-c", VISIT, url, PAIR=pair)
        assert code == 0, output
        answer: dict[str, Any] = json.loads(output)
        return answer

    def turns(self, machine: str, text: str) -> list[dict[str, Any]]:
        """What the agent of a machine says of its turns with this text, read through its proxy's dashboard."""
        it = self.machines[machine]
        answer = self.visit(f"http://{it.address}:9121/mock/turns", f"coordinator:{it.password}")
        assert answer["status"] == 200, answer
        return [turn for turn in json.loads(answer["body"])["turns"] if text in turn["text"]]

    async def states(self) -> dict[str, str]:
        """Each peer's state as the coordinator tells it."""
        async with self.client() as client:
            answer = await client.get("/api/peers")
        assert answer.status_code == 200, answer.text
        return {peer["name"]: peer["state"] for peer in answer.json()["peers"]}

    async def is_sound(self) -> bool:
        """The coordinator answers, has reached every machine, and finds nothing wrong but what is so on purpose."""
        try:
            states = await self.states()
        except httpx.TransportError:
            return False
        return all(
            states[name] == "up" if machine.is_sound else states[name] != "down"
            for name, machine in self.machines.items()
        )

    def _is_back(self, name: str) -> bool:
        """Its proxy answers, and finds its agent well; the coordinator may have looked last before a fault."""
        machine = self.machines[name]
        answer = self.visit(f"http://{machine.address}:9121/-/profiles", f"coordinator:{machine.password}")
        return "body" in answer and all(told["state"] == "up" for told in json.loads(answer["body"])["profiles"])

    @asynccontextmanager
    async def without_proxy(self, name: str) -> AsyncIterator[None]:
        """The machine runs and its proxy does not; it is back when the block ends."""
        _, proxy = self.machines[name].containers
        proxy.kill()
        try:
            yield
        finally:
            proxy.start()
            await until(lambda: self._is_back(name), seconds=HEAL_SECONDS)

    @asynccontextmanager
    async def paused(self, name: str, *, whole: bool) -> AsyncIterator[None]:
        """Nothing on the machine runs on (`whole`), or its agent does not; until the block ends or `resume`."""
        containers = self.machines[name].containers if whole else self.machines[name].containers[:1]
        for container in containers:
            container.pause()
        try:
            yield
        finally:
            self.resume(name)
            await until(lambda: self._is_back(name), seconds=HEAL_SECONDS)

    def resume(self, name: str) -> None:
        """End a pause."""
        for container in self.machines[name].containers:
            container.reload()
            if container.status == "paused":
                container.unpause()

    @asynccontextmanager
    async def mortal(self, name: str) -> AsyncIterator[Machine]:
        """The machine may be killed within the block; it is back when the block ends."""
        try:
            yield self.machines[name]
        finally:
            for container in self.machines[name].containers:  # the agent first: the proxy joins its new namespace
                container.reload()
                if container.status == "running":
                    container.kill()
            for container in self.machines[name].containers:
                container.start()
            await until(lambda: self._is_back(name), seconds=HEAL_SECONDS)


@contextmanager
def running_fleet(client: docker.DockerClient) -> Iterator[Fleet]:
    """Lay the networks and secrets, start everything; it is gone when the block ends."""
    prefix = free_prefix(client)
    machines = {machine.name: machine for machine in _machines(prefix)}
    key = "sk-switchboard-" + secrets.token_urlsafe(24)
    ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=f"{prefix}.0/24")])
    started: list[DockerContainer] = []

    def start(container: DockerContainer) -> DockerContainer:
        started.append(container)
        return container.start()

    with (
        _volume(client) as volume,
        Network(docker_network_kw={"internal": True, "ipam": ipam, "labels": LABELS}) as network,
        Network(docker_network_kw={"labels": LABELS}) as front,
    ):
        try:
            _fill(client, volume, machines, key)
            visitor = DockerContainer(PROXY_IMAGE, network=network, **BARE | {"entrypoint": ["sleep", "infinity"]})
            start(visitor)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda machine: _start(machine, network, volume, start), machines.values()))
            coordinator = DockerContainer(
                COORDINATOR_IMAGE,
                name=f"{PROJECT}-coordinator",
                network=front,
                env={
                    "SWITCHBOARD_COORDINATOR_LISTEN_ADDRESS": "0.0.0.0",
                    "SWITCHBOARD_COORDINATOR_ALLOW_UNTRUSTED_BIND": "yes",
                    "SWITCHBOARD_COORDINATOR_PEERS_FILE": f"{SECRETS}/peers.yaml",
                },
                **BARE | {"mounts": [_mount(volume, SECRETS, "coordinator")]},
            )
            coordinator.tmpfs["/var/lib/switchboard"] = "uid=10001,gid=10001,mode=0700"
            coordinator.ports["9120/tcp"] = ("127.0.0.1", None)  # type: ignore[assignment]  # docker's way to name the address too
            start(coordinator)
            client.networks.get(network.name).connect(coordinator.get_container_id(), ipv4_address=f"{prefix}.10")
            port = coordinator.get_wrapped_container()
            port.reload()
            bound = port.attrs["NetworkSettings"]["Ports"]["9120/tcp"][0]["HostPort"]
            yield Fleet(f"http://127.0.0.1:{bound}", key, machines, coordinator, visitor)
        finally:
            # A proxy before the machine whose namespace it is in.
            for container in reversed(started):
                container.stop()


def _machines(prefix: str) -> list[Machine]:
    return [
        Machine("nas", f"{prefix}.11", {"default": ("sound", "attic-too", "cellar-too"), "work": ("sound",)}),
        Machine("laptop", f"{prefix}.12", {"default": ("sound",)}),
        Machine("tower", f"{prefix}.13", {"default": ("sound", "gpu")}),
        Machine("attic", f"{prefix}.14", {"default": ("attic-too",)}, shown_password="not-the-password-of-attic"),
        Machine("cellar", f"{prefix}.15", {"default": ("cellar-too",)}, shown_key="not-the-key-of-the-cellar"),
    ]


def _start(machine: Machine, network: Network, volume: str, start: Any) -> None:
    place = EndpointConfig("1.44", ipv4_address=machine.address)
    machine.agent = start(
        DockerContainer(
            MOCK_AGENT_IMAGE,
            name=f"{PROJECT}-{machine.name}",
            network=network,
            env={
                "SWITCHBOARD_MOCK_AGENT_NAME": machine.name,
                "SWITCHBOARD_MOCK_AGENT_PROFILES": ",".join(machine.profiles),
                "SWITCHBOARD_MOCK_AGENT_MULTIPLEX": "yes" if len(machine.profiles) > 1 else "no",
                "SWITCHBOARD_MOCK_AGENT_KEY_FILE": "/run/agent/api_server_key",
            },
            **BARE
            | {
                "hostname": machine.name,
                "networking_config": {network.name: place},
                "mounts": [_mount(volume, "/run/agent", f"{machine.name}/agent")],
            },
        )
    )
    profiles = {name: {} if name == "default" else {"prefix": f"/p/{name}"} for name in machine.profiles}
    machine.proxy = start(
        DockerContainer(
            PROXY_IMAGE,
            name=f"{PROJECT}-{machine.name}-proxy",
            env={
                "SWITCHBOARD_PROXY_LISTEN_ADDRESS": machine.address,
                "SWITCHBOARD_PROXY_PROFILES": json.dumps(profiles),
            },
            **BARE
            | {
                "network_mode": f"container:{machine.agent.get_container_id()}",
                "mounts": [_mount(volume, SECRETS, f"{machine.name}/proxy")],
            },
        )
    )


def _mount(volume: str, target: str, subpath: str) -> Mount:
    """A part of the secrets' volume: no container sees the others'."""
    mount = Mount(target, volume, type="volume", read_only=True)
    mount["VolumeOptions"] = {"Subpath": subpath}
    return mount


@contextmanager
def _volume(client: docker.DockerClient) -> Iterator[str]:
    volume = client.volumes.create(f"switchboard-test-{SESSION}", labels=LABELS)
    try:
        yield volume.name
    finally:
        volume.remove(force=True)


def _fill(client: docker.DockerClient, volume: str, machines: Mapping[str, Machine], key: str) -> None:
    """Lay the secrets with owner and modes as the services demand, in a container that never runs."""
    files = {path: content for machine in machines.values() for path, content in machine.files().items()}
    files["coordinator/consumers"] = f"tests {hashlib.sha256(key.encode()).hexdigest()}"
    files["coordinator/peers.yaml"] = json.dumps({"peers": {name: one.entry() for name, one in machines.items()}})
    folders = {str(folder) for path in files for folder in _above(path)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in [*sorted(folders), *files]:
            content = files.get(name, "").encode()
            member = tarfile.TarInfo(name)
            member.uid = member.gid = USER
            member.size = len(content)
            member.mode = 0o400
            if name in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o500
            archive.addfile(member, io.BytesIO(content))
    filler = client.containers.create(
        COORDINATOR_IMAGE, labels=LABELS, volumes={volume: {"bind": SECRETS, "mode": "rw"}}
    )
    try:
        assert filler.put_archive(SECRETS, buffer.getvalue())
    finally:
        filler.remove(v=False)


def _above(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    for depth in range(len(parts)):
        yield "/".join(parts[: depth + 1])
