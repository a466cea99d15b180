"""What anyone on the machines' network can reach: the proxy, which asks who is there, and never the agent."""

import pytest

from .engine import inside
from .machines import Fleet

AGENT_PORTS = (8642, 9119)


@pytest.mark.parametrize("name", ["nas", "laptop", "tower"])
async def test_an_agent_cannot_be_reached_from_the_network(fleet: Fleet, name: str) -> None:
    machine = fleet.machines[name]
    for port in AGENT_PORTS:
        assert fleet.visit(f"http://{machine.address}:{port}/") == {"refused": "ConnectionRefusedError"}
        # It is there, on the machine's own loopback: otherwise the line above would hold for a dead one too.
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        code, _ = inside(machine.agent.get_wrapped_container(), "python3", "-c", connect)
        assert code == 0


@pytest.mark.parametrize("path", ["/", "/v1/models", "/p/default/v1/models", "/agent/health/detailed", "/-/profiles"])
async def test_the_proxy_asks_everyone_who_they_are(fleet: Fleet, path: str) -> None:
    laptop = fleet.machines["laptop"]
    url = f"http://{laptop.address}:9121{path}"
    for pair in ("", "coordinator:not-the-password-of-it", f"someone:{laptop.password}"):
        answer = fleet.visit(url, pair)
        assert answer["status"] == 401
        assert answer["headers"]["www-authenticate"].startswith("Basic ")
    assert fleet.visit(url, f"coordinator:{laptop.password}")["status"] == 200


async def test_one_machines_password_opens_no_other_machine(fleet: Fleet) -> None:
    nas, laptop = fleet.machines["nas"], fleet.machines["laptop"]
    answer = fleet.visit(f"http://{laptop.address}:9121/v1/models", f"coordinator:{nas.password}")
    assert answer["status"] == 401


async def test_the_dashboard_passes_and_sees_no_secret_of_ours(fleet: Fleet) -> None:
    laptop = fleet.machines["laptop"]
    answer = fleet.visit(f"http://{laptop.address}:9121/", f"coordinator:{laptop.password}")
    assert answer["status"] == 200
    assert answer["headers"]["content-type"].startswith("text/html")
    assert laptop.password not in answer["body"]
    assert laptop.key not in answer["body"]
