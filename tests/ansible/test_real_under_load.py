"""Real hermes-agents, installed by the role, under a turn a second: upgrades, one of them bad, and keys fail none."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import docker
import pytest
import pytest_asyncio
from ansible.deployed import Deployed
from ansible.judge import judged, seen
from ansible.loading import Loading
from ansible.site import Site
from ansible.terminal import Terminal
from real_agent.model import Model
from waiting import until

from ansible import versions

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.deploy]

PEERS = ("nas", "laptop")
TO = (*PEERS, "any@fleet")
PER_SECOND = 1.1
FAILING = "0.18.2"
"""Of hermes-agent: it starts, says that it is well, and with `multiplex_profiles` alone fails every turn."""
RUN = token_hex(3)
ONE, TWO = f"real-{RUN}-one", f"real-{RUN}-two"
ROTATED_SECONDS, ANSWER_SECONDS = 60.0, 120.0
DRAIN_SECONDS = 600.0  # a drain waits for 900 s
GATEWAY = "systemctl show --property MainPID hermes-gateway"
ROOM = 10
"""The marks are the issue's, and are printed; a busy machine gets so many times as much."""


@dataclass
class Fleet:
    """The fleet, and the model that its agents ask."""

    deployed: Deployed
    model: Model

    def describe(self, peer: str, **more: Any) -> None:
        """What the inventory says of a peer: which model its agent asks, and more."""
        url = self.model.base_url(peer, "default")
        told = {"provider": "custom", "default": "deterministic", "base_url": url, "api_key": "none-is-needed"}
        self.deployed.site.describe(peer, agent_model={**told, "context_length": 131072}, **more)

    def judge(self, load: Loading) -> None:
        verdict = judged(load.records, seen(asked.text for asked in self.model.asked))
        print(verdict.in_words())
        assert not verdict.failures
        assert verdict.per_second > 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    versions.called(ONE)
    versions.newer(TWO)
    try:
        machines = dict.fromkeys(("tower", *PEERS), "13")
        folder = tmp_path_factory.mktemp("site")
        async with Site(folder, machines, has_engine=True) as site, Model(site.lan_gateway) as model:
            fleet = Fleet(Deployed(site, coordinator="tower", client="laptop"), model)
            for peer in PEERS:
                fleet.describe(peer)
            await fleet.deployed.fill_vault()
            play = (await fleet.deployed.play("site.yml", version=ONE)).succeeded()
            print(f"deployed in {play.seconds:.0f} s")
            yield fleet
    finally:
        versions.forget(ONE, TWO)


async def test_an_upgrade_costs_no_turn_of_a_real_agent(fleet: Fleet) -> None:
    async with fleet.deployed.load(to=TO, per_second=PER_SECOND) as load:
        play = (await fleet.deployed.play("upgrade.yml", version=TWO)).succeeded()
    print(f"two peers and the coordinator upgraded in {play.seconds:.0f} s")
    fleet.judge(load)


async def test_new_keys_of_the_agents_cost_no_turn(fleet: Fleet) -> None:
    before = await fleet.deployed.secrets()
    await fleet.deployed.vault("begin", "bearer")
    async with fleet.deployed.load(to=TO, per_second=PER_SECOND) as load:
        play = (await fleet.deployed.play("rotate.yml", "--tags", "bearer", version=TWO)).succeeded()
    print(f"the keys of two agents rotated in {play.seconds:.0f} s (the mark is {ROTATED_SECONDS:g} a peer)")
    assert play.seconds < ROOM * ROTATED_SECONDS * len(PEERS)
    fleet.judge(load)
    after = await fleet.deployed.secrets()
    for peer in PEERS:
        bearers = (f"Bearer {found['vault_peers'][peer]['api_server_keys']['default']}" for found in (before, after))
        models = "http://127.0.0.1:8642/v1/models"
        assert await fleet.deployed.site[peer].statuses(models, *bearers) == [401, 200]
        assert "api_server_keys_next" not in after["vault_peers"][peer]
    assert (await fleet.deployed.play("site.yml", version=TWO)).succeeded().changed == 0


async def test_status_names_the_agents(fleet: Fleet) -> None:
    play = (await fleet.deployed.play("status.yml", version=TWO)).succeeded()
    assert play.output.count("hermes-agent 0.19.0") == len(PEERS)


async def test_an_agent_whose_turn_runs_on_is_left_as_it_runs_and_the_turn_ends_well(fleet: Fleet) -> None:
    terminal, nas = Terminal(fleet.deployed, "tower"), fleet.deployed.site["nas"]
    before = await nas.run(GATEWAY)
    fleet.describe("nas", agent_restart_drain_seconds=21)
    with fleet.model.holding("take your time"):
        turn = asyncio.create_task(terminal.asked("ask", "take your time", "--to", "default@nas"))
        await until(lambda: bool(fleet.model.turns("nas", "default", "take your time")), seconds=ANSWER_SECONDS)
        play = await fleet.deployed.play(
            *("site.yml", "--limit", "nas,tower", "--extra-vars", "upgrade_drain_seconds=2"), version=TWO
        )
        assert not turn.done()
    assert play.exit_code
    assert "nas is configured, and runs as before, because its turns run on" in " ".join(play.output.split())
    status, words = await turn
    assert status == 0
    assert "[nas] echo: take your time" in words
    assert await nas.run(GATEWAY) == before
    assert len(fleet.model.turns("nas", "default", "take your time")) == 1
    (await fleet.deployed.play("site.yml", version=TWO)).succeeded()
    assert await nas.run(GATEWAY) != before
    fleet.describe("nas")
    (await fleet.deployed.play("site.yml", version=TWO)).succeeded()


async def test_a_peer_that_waits_for_its_turns_keeps_no_other_drained(fleet: Fleet) -> None:
    terminal = Terminal(fleet.deployed, "tower")
    gateways = {peer: await fleet.deployed.site[peer].run(GATEWAY) for peer in PEERS}

    async def has_laptop_back() -> bool:
        status, told = await terminal.asked("peers", "--json")
        states = {peer["name"]: peer["state"] for peer in json.loads(told)["peers"]} if not status else {}
        is_new = await fleet.deployed.site["laptop"].run(GATEWAY) != gateways["laptop"]
        return is_new and states.get("nas") == "draining" and states.get("laptop") not in ("draining", None)

    for peer in PEERS:
        fleet.describe(peer, agent_restart_drain_seconds=22)
    with fleet.model.holding("a long one"):
        turn = asyncio.create_task(terminal.asked("ask", "a long one", "--to", "default@nas"))
        await until(lambda: bool(fleet.model.turns("nas", "default", "a long one")), seconds=ANSWER_SECONDS)
        playing = asyncio.create_task(fleet.deployed.play("site.yml", version=TWO))
        await until(has_laptop_back, seconds=DRAIN_SECONDS)
        assert await fleet.deployed.site["nas"].run(GATEWAY) == gateways["nas"]
    assert (await turn)[0] == 0
    (await playing).succeeded()
    assert await fleet.deployed.site["nas"].run(GATEWAY) != gateways["nas"]
    for peer in PEERS:
        fleet.describe(peer)
    (await fleet.deployed.play("site.yml", version=TWO)).succeeded()


async def test_a_rotation_leaves_an_agent_whose_turn_runs_on_and_names_it(fleet: Fleet) -> None:
    terminal, nas = Terminal(fleet.deployed, "tower"), fleet.deployed.site["nas"]
    rotate = ("rotate.yml", "--tags", "bearer", "--limit", "nas")
    before = await nas.run(GATEWAY)
    await fleet.deployed.vault("begin", "bearer", "nas")
    with fleet.model.holding("no hurry"):
        turn = asyncio.create_task(terminal.asked("ask", "no hurry", "--to", "default@nas"))
        await until(lambda: bool(fleet.model.turns("nas", "default", "no hurry")), seconds=ANSWER_SECONDS)
        play = (await fleet.deployed.play(*rotate, "--extra-vars", "upgrade_drain_seconds=2", version=TWO)).succeeded()
        assert not turn.done()
    assert "because their turns ran on for 2 s: nas. Run this again for them." in " ".join(play.output.split())
    assert (await turn)[0] == 0
    assert await nas.run(GATEWAY) == before
    (await fleet.deployed.play(*rotate, version=TWO)).succeeded()
    assert await nas.run(GATEWAY) != before
    assert "api_server_keys_next" not in (await fleet.deployed.secrets())["vault_peers"]["nas"]


async def test_a_version_of_an_agent_that_fails_its_turns_is_taken_back_and_costs_none(fleet: Fleet) -> None:
    assert await gateway_of(fleet, "nas") == "0.19.0"
    fleet.describe("nas", agent_version=FAILING, agent_lock="")
    async with fleet.deployed.load(to=TO, per_second=PER_SECOND) as load:
        play = await fleet.deployed.play("upgrade.yml", "--limit", "nas,tower", version=TWO)
    assert play.exit_code
    words = " ".join(play.output.split())
    assert f"default@nas agent ok 0 {FAILING}" in re.sub(r"ok +[0-9.]+", "ok 0", words)
    assert "nas is as it was before, and takes turns" in words
    assert await gateway_of(fleet, "nas") == "0.19.0"
    fleet.judge(load)
    fleet.describe("nas")
    (await fleet.deployed.play("site.yml", version=TWO)).succeeded()
    assert await gateway_of(fleet, "nas") == "0.19.0"
    assert FAILING not in await fleet.deployed.site["nas"].run("ls /opt/hermes-agent")


async def test_an_agent_is_rolled_back_to_the_version_that_was_proved_before(fleet: Fleet) -> None:
    fleet.describe("laptop", agent_version=FAILING, agent_lock="", agent_multiplex=False)
    (await fleet.deployed.play("upgrade.yml", "--limit", "laptop,tower", version=TWO)).succeeded()
    assert await gateway_of(fleet, "laptop") == FAILING
    async with fleet.deployed.load(to=TO, per_second=PER_SECOND) as load:
        (await fleet.deployed.play("rollback.yml", "--limit", "laptop", version=TWO)).succeeded()
    assert await gateway_of(fleet, "laptop") == "0.19.0"
    fleet.judge(load)


async def gateway_of(fleet: Fleet, machine: str) -> str:
    """The version of the gateway that runs there, by where its program is."""
    program = "tr '\\0' '\\n' </proc/$(systemctl show --property MainPID --value hermes-gateway)/cmdline"
    told = await fleet.deployed.site[machine].run(program)
    (version,) = set(re.findall(r"/opt/hermes-agent/([0-9]+(?:\.[0-9]+)*)", told))
    return str(version)
