"""`switchboard doctor` as a person or a playbook types it, and what goes wrong with networks, in one of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from coordinator.stage import PASSWORD, Stage, private
from doubles.network import Network, network

PROGRAM = Path(sys.executable).parent / "switchboard"
PREFIX = "SWITCHBOARD_COORDINATOR_"
NAS = "100.64.0.9"


class Told:
    """What one command said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def failed(self) -> dict[str, Any]:
        """The failure of the first peer."""
        failed: dict[str, Any] = json.loads(self.out)["peers"][0]["failed"]
        return failed


def environment(stage: Stage) -> dict[str, str]:
    """That of the stage's coordinator, which does not run; its peers file is written."""
    stage.peers_file.write_text(yaml.safe_dump({"peers": stage.peers_named}, sort_keys=False))
    own = {
        "LISTEN_ADDRESS": "127.0.0.1",
        "PEERS_FILE": str(stage.peers_file),
        "SECRETS_FOLDER": str(stage.secrets),
        "DATABASE_FILE": str(stage.database_file),
    }
    return {"PATH": os.environ["PATH"], "COLUMNS": "200"} | {PREFIX + name: value for name, value in own.items()}


async def doctor(stage: Stage, *words: str, entering: tuple[str, ...] = (), **more: str) -> Told:
    """Run the command beside the stage's machines."""
    command = (*entering, str(PROGRAM), "doctor", *words)
    env = environment(stage) | {PREFIX + name: value for name, value in more.items()}
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Told(process.returncode or 0, out.decode(), err.decode())


async def test_all_is_well_is_told_hop_by_hop_while_no_coordinator_runs(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    told = await doctor(stage)
    assert (told.status, told.err) == (0, "")
    lines = [line.split() for line in told.out.splitlines()]
    assert lines[0] == ["peer", "hop", "ms", "found"]
    assert [line[:3] for line in lines[-3:]] == [["work@nas", hop, "ok"] for hop in ("agent", "profile", "turn")]
    assert len(lines) == 1 + 6 + 2 * 3
    assert len(agent.turns) == 2
    told = await doctor(stage, "nas", "--json", "--no-turn")
    assert (told.status, json.loads(told.out)["ok"], len(agent.turns)) == (0, True, 2)


async def test_what_fails_is_told_with_what_mends_it_and_no_secret(stage: Stage) -> None:
    await stage.machine("nas", password="a-wrong-password-0123456789")
    await stage.machine("laptop")
    told = await doctor(stage)
    assert (told.status, told.err) == (1, "")
    assert f"nas: credential: its proxy refuses the user or password: mend the password file; {stage.secrets}/nas" in (
        told.out
    )
    assert "laptop: " not in told.out
    as_json = await doctor(stage, "--json")
    assert (as_json.status, as_json.failed["hop"]) == (1, "credential")
    assert not any(secret in told.out + as_json.out for secret in ("a-wrong-password", PASSWORD))
    assert (await doctor(stage, "laptop")).status == 0


async def test_mistakes_of_the_configuration_are_told_at_once_and_nobody_is_walked_to(stage: Stage) -> None:
    agent = await stage.machine("nas")
    private(stage.secrets / "consumers", "me not-a-digest")
    told = await doctor(stage, LISTEN_ADDRESS="192.0.2.1")
    assert (told.status, told.out, len(agent.requests)) == (78, "", 0)
    first, second = told.err.splitlines()
    assert first.startswith(f"switchboard: {PREFIX}LISTEN_ADDRESS is 192.0.2.1")
    assert second.startswith(f"switchboard: {stage.secrets}/consumers line 1: ")
    assert (await doctor(stage, "--turn-seconds", "0")).status == 2


@pytest.fixture
def own_network() -> Iterator[Network]:
    with network() as made:
        if made is None:
            pytest.skip("run as root on Linux, where `unshare --net true` works: the doctor gets a network of its own")
        yield made


def ip(own_network: Network, words: str) -> None:
    """Run `ip` there."""
    subprocess.run([*own_network.entering, "ip", *words.split()], check=True, timeout=20)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_tailnet_that_is_down_on_this_machine_is_told(
    stage: Stage, own_network: Network, elsewhere: bool
) -> None:
    if elsewhere:  # a machine on a LAN alone: packets to the tailnet would leave towards it
        own_network.add("192.168.7.2")
        ip(own_network, "route add default dev lo src 192.168.7.2")
    stage.peer("nas", 9121, host=NAS)
    told = await doctor(stage, "--json", entering=tuple(own_network.entering))
    assert (told.status, told.failed["hop"], told.failed["code"]) == (1, "tailnet", "tailnet_down")
    assert told.failed["sentence"].startswith(
        f"the tailnet is down on this machine: no address of its own leads to {NAS}; see `tailscale status`"
    )


@pytest.mark.parametrize("address", [NAS, "fd7a:115c:a1e0::9"])
async def test_with_an_address_of_the_tailnet_the_way_goes_on_to_the_port(
    stage: Stage, own_network: Network, address: str
) -> None:
    own_network.add(address)
    stage.peer("nas", 9121, host=address)
    told = await doctor(stage, "--json", entering=tuple(own_network.entering))
    assert (told.status, told.failed["code"]) == (1, "port_refused")
    (tailnet,) = [hop for hop in json.loads(told.out)["peers"][0]["hops"] if hop["hop"] == "tailnet"]
    assert tailnet["detail"] == f"from {address} to {address}"


async def test_a_machine_that_no_connection_comes_through_to_is_told(stage: Stage, own_network: Network) -> None:
    for words in ("link add here type veth peer name there", "link set here up", "link set there up"):
        ip(own_network, words)
    ip(own_network, "address add 100.64.0.2/24 dev here")  # and nobody is at the other end of it
    stage.peer("nas", 9121, host=NAS)
    told = await doctor(stage, "--json", entering=tuple(own_network.entering))
    assert (told.status, told.failed["hop"], told.failed["code"]) == (1, "port", "port_unreachable")
    assert told.failed["sentence"].startswith("no connection comes through to port 9121 (No route to host); see in ")
