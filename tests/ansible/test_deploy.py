"""From three bare machines to a fleet of real hermes-agents that is proved, by one command; what is seen of it then.

The tests build on each other, as the first day of a fleet does. Measured times are printed beside the issue's marks.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import docker
import pytest
import pytest_asyncio
from ansible.canaries import Canaries, Processes, of_vault
from ansible.deployed import Deployed
from ansible.machine import Machine
from ansible.play import Play
from ansible.ports import answering
from ansible.site import Site
from real_agent.model import Model

from ansible import versions

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

VERSION = f"deploy-{token_hex(3)}"
ADDRESSES = ("default@nas", "work@nas", "default@laptop")
FIRST_SECONDS, SECOND_SECONDS = 600.0, 90.0
ROOM = 10
"""The marks are the issue's, and are printed; a busy machine gets so many times as much."""
KEEPERS = re.compile("/etc/switchboard/(proxy|coordinator)/secrets/|/var/lib/hermes/")
"""Where secrets belong."""
WOULD_BE = (
    "a container engine would be installed and started",
    "would be sent",
    "hermes-gateway.service, hermes-dashboard.service would be started",
    "the proxy would be started",
    "the coordinator would be started",
    "--- before",
)
"""What check mode has to say of bare machines."""
ANSWERED_ALONE = r'"target": "(\S+)", "message"(?:(?!"target").)*?# 200 in \d+\.\d\d s:\s+\[\S+\]\s+echo:'
ANSWERED_TOGETHER = r"#   (\S+@\S+):\s+\[\S+\]\s+echo:"
LOGS = "journalctl --no-pager"
CONTAINERS = "for one in $(docker ps --all --quiet); do docker logs $one 2>&1; docker inspect $one; done; docker ps"
IMAGES = (
    "for one in $(docker image ls --quiet --no-trunc); do docker history --no-trunc $one; docker inspect $one; done"
)


@dataclass
class Fleet:
    """The site, its model, its secrets, and what was seen of them while playbooks ran."""

    deployed: Deployed
    secrets: set[str]
    shown: set[str] = field(default_factory=set)
    samples: int = 0

    @property
    def canaries(self) -> Canaries:
        return Canaries(self.secrets)

    @property
    def machines(self) -> list[Machine]:
        return [*self.deployed.site.machines.values()]

    async def play(self, *arguments: str, playbook: str = "site.yml") -> Play:
        """Play, as talkative as Ansible can usefully be, while somebody looks at the list of processes."""
        with Processes(self.canaries) as processes:
            play = await self.deployed.play(playbook, "-vvv", *arguments, version=VERSION)
        self.shown |= processes.with_a_secret
        self.samples += processes.samples
        assert any("switchboard" in program or "docker" in program for program in processes.programs)
        assert not self.canaries.are_in(play.log.read_bytes())
        return play


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    versions.called(VERSION)
    of_model = f"canary-{token_hex(16)}"
    try:
        machines = {"tower": "13", "nas": "13", "laptop": "12"}
        async with Site(tmp_path_factory.mktemp("site"), machines) as site, Model(site.lan_gateway) as model:
            told = {"provider": "custom", "default": "deterministic", "api_key": of_model, "context_length": 131072}
            for peer in ("nas", "laptop"):
                profiles: dict[str, Any] = {"default": {"capabilities": ["home"]}}
                if peer == "nas":
                    profiles["work"] = {"capabilities": ["code"], "model": {"base_url": model.base_url(peer, "work")}}
                settings = {**told, "base_url": model.base_url(peer, "default")}
                site.describe(peer, agent_model=settings, profiles=profiles)
            deployed = Deployed(site, coordinator="tower", client="laptop")
            await deployed.fill_vault()
            of_the_vault = (site.inventory / ".vault-password").read_text().strip()
            yield Fleet(deployed, {*of_vault(await deployed.secrets()), of_the_vault, of_model})
    finally:
        versions.forget(VERSION)


def asked_and_answered(transcript: str) -> set[str]:
    """Whoever answered the proof: each address by itself, and those of `all@fleet`."""
    alone = re.findall(ANSWERED_ALONE, transcript, re.DOTALL)
    _, _, together = transcript.partition('"all@fleet"')
    return {*alone, *(f"all: {one}" for one in re.findall(ANSWERED_TOGETHER, together))}


async def test_before_the_first_run_check_mode_tells_what_would_be_done_and_does_nothing(fleet: Fleet) -> None:
    before = [await machine.files() for machine in fleet.machines]
    play = (await fleet.play("--check", "--diff")).succeeded()
    print(f"--check --diff of bare machines: {play.seconds:.0f} s, {play.changed} changes told")
    for words in WOULD_BE:
        assert words in " ".join(play.output.split()), words
    for machine, was in zip(fleet.machines, before, strict=True):
        assert await machine.files() == was


async def test_bare_machines_become_a_fleet_that_is_proved(fleet: Fleet) -> None:
    play = (await fleet.play()).succeeded()
    print(f"from bare machines to the proof: {play.seconds:.0f} s (the mark is {FIRST_SECONDS:g})")
    assert play.seconds < ROOM * FIRST_SECONDS
    assert asked_and_answered(play.output) == {*ADDRESSES, *(f"all: {one}" for one in ADDRESSES)}
    for machine, service in (("tower", "coordinator"), ("nas", "proxy"), ("laptop", "proxy")):
        assert await fleet.deployed.running(machine, service) == versions.ids(VERSION)[f"switchboard-{service}"]


async def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    play = (await fleet.play()).succeeded()
    print(f"a second run: {play.seconds:.0f} s (the mark is {SECOND_SECONDS:g}), changed={play.changed}")
    assert play.changed == 0
    assert play.seconds < ROOM * SECOND_SECONDS


async def test_afterwards_check_mode_has_nothing_to_tell(fleet: Fleet) -> None:
    play = (await fleet.play("--check", "--diff")).succeeded()
    print(f"--check --diff afterwards: {play.seconds:.0f} s, changed={play.changed}")
    assert play.changed == 0


async def test_from_the_lan_only_ssh_answers(fleet: Fleet) -> None:
    for machine in fleet.machines:
        assert await answering(machine.lan_address) == [22], machine.name


async def test_from_the_tailnet_only_what_was_deployed_answers(fleet: Fleet) -> None:
    tower, nas, laptop = fleet.machines
    assert await answering(nas.tailnet_address, seen_from=tower) == [9121]
    assert await answering(laptop.tailnet_address, seen_from=tower) == [9121]
    assert await answering(tower.tailnet_address, seen_from=nas) == [9120]


async def test_a_machine_that_is_off_keeps_nobody_waiting_and_is_named(fleet: Fleet) -> None:
    _, nas, laptop = fleet.machines
    await nas.run("sed -i s/9121/9122/ /etc/switchboard/proxy/.env")  # something to do for it
    await laptop.power_off()
    try:
        play = await fleet.play()
        assert play.exit_code != 0
        assert play.recap["laptop"]["unreachable"] == 1, play.end()
        assert play.recap["nas"]["changed"] > 0
        assert "they could not be reached or failed (above): laptop" in " ".join(play.output.split())
        assert asked_and_answered(play.output) >= {"default@nas", "work@nas"}
    finally:
        await laptop.start()
    play = (await fleet.play()).succeeded()
    assert asked_and_answered(play.output) >= set(ADDRESSES)


async def test_a_rotation_shows_neither_the_old_secrets_nor_the_new(fleet: Fleet) -> None:
    old = len(fleet.secrets)
    for kind in ("basic", "bearer", "consumer"):
        await fleet.deployed.vault("begin", kind)
    fleet.secrets |= {*of_vault(await fleet.deployed.secrets())}
    assert len(fleet.secrets) == 2 * old - 2, "the vault's password and the model's key stay"
    (await fleet.play(playbook="rotate.yml")).succeeded()
    assert (await fleet.play()).succeeded().changed == 0


async def test_no_process_ever_showed_a_secret(fleet: Fleet) -> None:
    print(f"looked {fleet.samples} times at the list of processes")
    assert fleet.samples > 10
    assert fleet.shown == set()


async def test_a_secret_lies_where_it_belongs_alone(fleet: Fleet) -> None:
    for machine in fleet.machines:
        found = await fleet.canaries.files(machine)
        assert found, f"{machine.name}: a search that finds nothing proves nothing"
        assert [file for file in found if not KEEPERS.match(file)] == [], machine.name
        assert await fleet.canaries.files(machine, of_nobody=True) == [], machine.name


async def test_no_log_and_no_image_holds_a_secret(fleet: Fleet) -> None:
    for machine in fleet.machines:
        for command in (LOGS, CONTAINERS, IMAGES):
            assert not await fleet.canaries.output(machine, command), f"{machine.name}: {command}"
    for image in versions.ids(VERSION).values():
        assert not await fleet.canaries.image(image)


async def test_ansible_leaves_no_secret_behind_where_it_runs(fleet: Fleet) -> None:
    left = [path for path in (fleet.deployed.site.folder / "ansible-home").rglob("*") if path.is_file()]
    assert [path for path in left if fleet.canaries.are_in(path.read_bytes())] == []
