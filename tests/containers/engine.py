"""The container engine as the tests use it: what is theirs bears a label, and nothing of that stays behind."""

import ipaddress
import os
import random
import secrets
from collections.abc import Iterable
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

PROXY_IMAGE = "switchboard-proxy:dev"
COORDINATOR_IMAGE = "switchboard-coordinator:dev"
MOCK_AGENT_IMAGE = "switchboard-mock-agent:dev"
USER = 10001

LABEL = "io.hermes-switchboard.test"
SESSION = f"{os.getpid()}-{secrets.token_hex(3)}"
"""Several runs may share one engine; each sees and removes its own alone."""
LABELS = {LABEL: SESSION}
PROJECT = f"switchboard-test-{SESSION}"

SIMULATIONS_OWN = "100.127.77"

BARE: dict[str, Any] = {
    "init": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "labels": LABELS,
    "healthcheck": {"test": ["NONE"]},
}
"""How the Compose files run every container; health is a subject of the simulation's tests, and a dozen cost much."""


def free_prefix(client: docker.DockerClient) -> str:
    """Three numbers of a /24 within 100.64.0.0/10 that no network of this engine uses."""
    taken = [
        ipaddress.ip_network(config["Subnet"])
        for network in client.networks.list()
        for config in network.attrs["IPAM"]["Config"] or ()
        if "Subnet" in config
    ]
    while True:
        prefix = f"100.{random.randrange(112, 127)}.{random.randrange(256)}"  # noqa: S311 - an address, no secret
        here = ipaddress.ip_network(f"{prefix}.0/24")
        if prefix != SIMULATIONS_OWN and not any(here.overlaps(one) for one in taken if one.version == 4):
            return prefix


def inside(container: Container, *command: str, **environment: str) -> tuple[int | None, str]:
    """Exit status and output of a command inside a container."""
    code, output = container.exec_run(list(command), environment=environment)
    assert isinstance(output, bytes)
    return code, output.decode("utf-8", "replace")


def ours(client: docker.DockerClient) -> list[Container]:
    """Containers of this run, those of its Compose project included."""
    found = [
        container
        for label in (f"{LABEL}={SESSION}", f"com.docker.compose.project={PROJECT}")
        for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    ]
    return sorted(found, key=lambda container: container.name or "")


def leftovers(client: docker.DockerClient) -> list[str]:
    """What this run left behind; it is removed."""
    found = [f"container {container.name}" for container in ours(client)]
    for container in ours(client):
        container.remove(force=True, v=True)
    for label in (f"{LABEL}={SESSION}", f"com.docker.compose.project={PROJECT}"):
        for network in client.networks.list(filters={"label": label}):
            found.append(f"network {network.name}")
            network.remove()
        for volume in client.volumes.list(filters={"label": label}):
            found.append(f"volume {volume.name}")
            volume.remove(force=True)
    return found


def states_and_logs(containers: Iterable[Container], lines: int = 25) -> str:
    """What a person wants to see when a test failed."""
    told = []
    for container in containers:
        try:
            container.reload()
            state = container.attrs["State"]
            log = container.logs(tail=lines).decode("utf-8", "replace").rstrip()
        except (APIError, NotFound) as error:
            told.append(f"== {container.name}: {error}")
            continue
        health = state.get("Health", {}).get("Status", "without health")
        told.append(f"== {container.name}: {state['Status']}, {health}, exit code {state['ExitCode']}\n{log}")
    return "\n".join(told)
