"""Real hermes-agents, installed by the role, under a turn a second: upgrades, one of them bad, and keys fail none."""

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
from real_agent.model import Model

from ansible import versions

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.deploy]

PEERS = ("nas", "laptop")
TO = (*PEERS, "any@fleet")
PER_SECOND = 1.1
FAILING = "0.18.2"
"""Of hermes-agent: it starts, says that it is well, and with `multiplex_profiles` alone fails every turn."""
RUN = token_hex(3)
ONE, TWO = f"real-{RUN}-one", f"real-{RUN}-two"
ROTATED_SECONDS = 60.0
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
        assert after["vault_peers"][peer]["api_server_keys"] != before["vault_peers"][peer]["api_server_keys"]


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
