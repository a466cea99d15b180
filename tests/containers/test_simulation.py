"""`compose/compose.yaml` as a newcomer starts it, under another name, at other addresses and another port."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container

from .engine import PROJECT, USER, free_prefix, inside, ours

COMPOSE = Path(__file__).parents[2] / "compose"
WAIT_SECONDS = 240
SERVICES = {"coordinator", "nas", "nas-proxy", "laptop", "laptop-proxy", "tower", "tower-proxy"}
BARE_INSIDE = "grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs):' /proc/self/status; touch /written 2>&1 || true"


@dataclass(frozen=True, slots=True)
class Simulation:
    """The simulation, running."""

    environment: dict[str, str]
    url: str
    key: str
    containers: dict[str, Container]

    def models(self) -> set[str]:
        """What its coordinator lists."""
        answer = httpx.get(f"{self.url}/v1/models", headers=self.headers, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return {model["id"] for model in answer.json()["data"]}

    @property
    def headers(self) -> dict[str, str]:
        """Its consumer's."""
        return {"authorization": f"Bearer {self.key}"}


def compose(environment: dict[str, str], *arguments: str) -> str:
    """Run Compose in the simulation's folder."""
    told = subprocess.run(
        ["docker", "compose", "--progress", "quiet", "--project-name", PROJECT, *arguments],
        cwd=COMPOSE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS + 60,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def up(environment: dict[str, str]) -> None:
    compose(environment, "up", "--detach", "--wait", "--wait-timeout", str(WAIT_SECONDS), "--no-build")


def key(environment: dict[str, str]) -> str:
    return compose(environment, "exec", "--no-TTY", "coordinator", "cat", "/run/switchboard/me/key").strip()


@pytest.fixture(scope="module")
def environment(engine: docker.DockerClient) -> dict[str, str]:
    """What is set for this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    return inherited | {"SWITCHBOARD_FLEET_PREFIX": free_prefix(engine), "SWITCHBOARD_PORT": str(port)}


@pytest.fixture(scope="module")
def simulation(engine: docker.DockerClient, environment: dict[str, str]) -> Iterator[Simulation]:
    """The simulation; it and its volume are gone afterwards."""
    try:
        up(environment)
        containers = {
            container.labels["com.docker.compose.service"]: container
            for container in ours(engine)
            if container.labels.get("com.docker.compose.project") == PROJECT
        }
        yield Simulation(
            environment, f"http://127.0.0.1:{environment['SWITCHBOARD_PORT']}", key(environment), containers
        )
    finally:
        compose(environment, "down", "--volumes", "--remove-orphans", "--timeout", "5")


def test_the_simulation_is_the_hosts_files_in_other_places(environment: dict[str, str]) -> None:
    services: dict[str, Any] = json.loads(compose(environment, "config", "--format", "json"))["services"]
    assert services.keys() == SERVICES | {"secrets"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"cap_add", "privileged"} & service.keys(), name
        if name.endswith("-proxy"):
            assert service["network_mode"] == f"service:{name.removesuffix('-proxy')}"
    # What only the hosts' files say has come through.
    assert {services[name]["stop_grace_period"] for name in SERVICES if "proxy" in name or name == "coordinator"} == {
        "30s"
    }
    assert [port["host_ip"] for port in services["coordinator"]["ports"]] == ["127.0.0.1"]


def test_all_machines_of_the_simulation_answer(simulation: Simulation) -> None:
    assert simulation.models() >= {
        "default@nas",
        "work@nas",
        "default@laptop",
        "default@tower",
        "all@fleet",
        "all@code",
    }
    body = {
        "model": "all@fleet",
        "messages": [{"role": "user", "content": "ping"}],
        "switchboard": {"answers": "choices"},
    }
    answer = httpx.post(
        f"{simulation.url}/v1/chat/completions", json=body, headers=simulation.headers, timeout=60, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    texts = sorted(choice["message"]["content"] for choice in answer.json()["choices"])
    assert texts == ["[laptop] echo: ping", "[nas/work] echo: ping", "[nas] echo: ping", "[tower] echo: ping"]


def test_the_command_in_the_coordinators_container_asks_all_of_them(simulation: Simulation) -> None:
    said = compose(
        simulation.environment, "exec", "--no-TTY", "coordinator", "switchboard", "ask", "ping", "--to", "all@fleet"
    )
    for address, name in {"default@nas": "nas", "work@nas": "nas/work", "default@tower": "tower"}.items():
        assert f"{address}\n[{name}] echo: ping" in said


def test_everything_runs_without_root_without_capabilities_and_cannot_write(simulation: Simulation) -> None:
    for name in SERVICES:
        container = simulation.containers[name]
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["Privileged"], name
        _, output = inside(container, "sh", "-c", BARE_INSIDE)
        told = {name: value for name, _, value in (line.partition(":") for line in output.splitlines())}
        assert told["Uid"].split() == [str(USER)] * 4, name
        assert {int(told[field], 16) for field in ("CapEff", "CapPrm", "CapBnd")} == {0}, name
        assert told["NoNewPrivs"].strip() == "1", name
        assert "Read-only file system" in output, name


def test_no_container_of_the_simulation_sees_anothers_secrets(simulation: Simulation) -> None:
    def files(service: str, folder: str) -> set[str]:
        code, output = inside(simulation.containers[service], "find", folder, "-type", "f", "-printf", "%P %m\n")
        assert code == 0
        return set(output.splitlines())

    for machine in ("nas", "laptop", "tower"):
        assert files(machine, "/run/agent") == {"api_server_key 400"}
        assert files(f"{machine}-proxy", "/run/switchboard") == {
            "secrets/proxy_password 400",
            "secrets/api_server_key 400",
        }
    assert files("coordinator", "/run/switchboard/secrets") == {
        "consumers 400",
        "nas_password 400",
        "laptop_password 400",
        "tower_password 400",
    }
    seen = [
        inside(simulation.containers[f"{name}-proxy"], "sh", "-c", "cat /run/switchboard/secrets/*")
        for name in ("nas", "laptop", "tower")
    ]
    assert len(set(seen)) == 3


def test_starting_the_simulation_again_changes_nothing(engine: docker.DockerClient, simulation: Simulation) -> None:
    started = {name: simulation.containers[name].attrs["State"]["StartedAt"] for name in SERVICES}
    up(simulation.environment)
    now = {
        name: engine.containers.get(str(simulation.containers[name].id)).attrs["State"]["StartedAt"]
        for name in SERVICES
    }
    assert now == started
    assert key(simulation.environment) == simulation.key
    assert "default@nas" in simulation.models()
