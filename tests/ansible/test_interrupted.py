"""A playbook that is killed at any task and then run to its end leads where an undisturbed run does.

Twenty-two points by chance: SWITCHBOARD_TEST_SEED=… repeats a choice, which is printed. One machine is coordinator and
peer, with a mock agent, so that it takes minutes.
"""

import json
import os
import random
import re
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import docker
import pytest
import pytest_asyncio
import yaml
from ansible.deployed import Deployed
from ansible.machine import Machine
from ansible.site import Site
from waiting import until

from ansible import mock_agent, versions

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

SEED = os.environ.get("SWITCHBOARD_TEST_SEED") or secrets.token_hex(4)
MACHINE = "hall"
ONE, TWO = f"interrupted-{SEED}-one", f"interrupted-{SEED}-two"
FIRST_DEPLOYS, UPGRADES, ROLLBACKS, ROTATIONS = 8, 8, 2, 4
"""So many are killed."""
SETTLED_SECONDS = 60.0
STATE = """
import hashlib, json, os, subprocess, sys

def told(*command):
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

def content(path):
    return os.readlink(path) if os.path.islink(path) else hashlib.sha256(open(path, "rb").read()).hexdigest()

files = {}
for folder, folders, names in os.walk("/etc/switchboard"):
    for name in [*names, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]:
        path = os.path.join(folder, name)
        about = os.lstat(path)
        files[path] = [content(path), oct(about.st_mode), about.st_uid]
containers = told("docker", "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.State}}")
print(json.dumps({
    "files": files,
    "containers": containers,
    "images": sorted(set(told("docker", "image", "ls", "--quiet", "--no-trunc"))),
    "left": [one for one in os.listdir("/var/lib") if one.startswith("switchboard-")],
}))
"""
CLEAR = (
    "docker rm --force $(docker ps --all --quiet) 2>/dev/null;"
    " docker volume rm $(docker volume ls --quiet) 2>/dev/null;"
    " docker image rm --force $(docker image ls --quiet) 2>/dev/null; rm -rf /etc/switchboard"
)
"""Nothing was ever deployed; the engine is there."""

TOUCHED = re.compile("/etc/(switchboard/|(passwd|group|shadow|gshadow|subuid|subgid)-?$|.pwd.lock$)|/root/.docker/")
"""What a deploy writes where engine and agent are there: its folder, an account, what docker keeps for its client."""

State = dict[str, Any]


@dataclass
class Fleet:
    """What is deployed, and over how many tasks an undisturbed run of each playbook goes."""

    deployed: Deployed
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311 - no secret is made of it
    tasks: dict[str, int] = field(default_factory=dict)

    @property
    def machine(self) -> Machine:
        return self.deployed.coordinator

    async def clear(self) -> None:
        await self.machine.run(CLEAR)

    async def undisturbed(self, playbook: str, *arguments: str, version: str) -> State:
        """Run it to its end, and know over how many tasks that goes; what it leads to."""
        play = (await self.deployed.play(playbook, *arguments, version=version)).succeeded()
        self.tasks[playbook] = play.tasks
        print(f"{playbook}: {play.tasks} tasks in {play.seconds:.0f} s, undisturbed")
        return await self.state()

    async def killed_and_run_again(self, playbook: str, *arguments: str, version: str) -> None:
        """Kill it somewhere, and run it to its end."""
        point = self.chance.randrange(1, self.tasks[playbook])
        print(f"{playbook} is killed at task {point} of {self.tasks[playbook]} (SWITCHBOARD_TEST_SEED={SEED})")
        play = await self.deployed.play(playbook, *arguments, version=version, killed_at=point)
        assert play.exit_code == -signal.SIGKILL, play.end()
        (await self.deployed.play(playbook, *arguments, version=version)).succeeded()

    async def state(self) -> State:
        """The machine's files, containers and images, the version in the inventory, and what the coordinator says."""
        peers: list[dict[str, Any]] = []

        async def all_are_up() -> bool:
            peers[:] = await self._peers()
            return {peer["state"] for peer in peers} == {"up"}

        await until(all_are_up, seconds=SETTLED_SECONDS)
        noted = self.deployed.site.inventory / "group_vars/all/version.yml"
        return {
            **json.loads(await self.machine.python(STATE)),
            "version": yaml.safe_load(noted.read_text())["switchboard_version"] if noted.exists() else "",
            "peers": sorted((peer["name"], peer["credential"]) for peer in peers),
        }

    async def _peers(self) -> list[dict[str, Any]]:
        key = (await self.deployed.secrets())["vault_consumer_key"]
        asking = "docker exec --interactive switchboard-coordinator-coordinator-1 switchboard peers --json --key-file -"
        peers: list[dict[str, Any]] = json.loads(await self.machine.run(asking, text=key))["peers"]
        return peers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    versions.called(ONE)
    versions.newer(TWO)
    try:
        async with Site(tmp_path_factory.mktemp("site"), {MACHINE: "13"}, has_engine=True) as site:
            await mock_agent.there_before(site, MACHINE)
            fleet = Fleet(Deployed(site, coordinator=MACHINE, client=MACHINE))
            await fleet.deployed.fill_vault()
            yield fleet
    finally:
        versions.forget(ONE, TWO)


async def test_a_first_deploy_that_is_killed_is_made_good_by_the_next(fleet: Fleet) -> None:
    before = await fleet.machine.files()
    state = await fleet.undisturbed("site.yml", version=ONE)
    touched = {line.split()[0] for line in before ^ await fleet.machine.files()}
    assert {path for path in touched if not TOUCHED.match(path)} == set(), "nothing else of a machine is touched"
    for _ in range(FIRST_DEPLOYS):
        await fleet.clear()
        await fleet.killed_and_run_again("site.yml", version=ONE)
        assert await fleet.state() == state


async def test_an_upgrade_that_is_killed_is_made_good_by_the_next(fleet: Fleet) -> None:
    """There and back, for each has something to do then."""
    states = {version: await fleet.undisturbed("upgrade.yml", version=version) for version in (TWO, ONE)}
    for _ in range(UPGRADES // 2):
        for version, state in states.items():
            await fleet.killed_and_run_again("upgrade.yml", version=version)
            assert await fleet.state() == state


async def test_a_rollback_that_is_killed_goes_back_one_step_all_the_same(fleet: Fleet) -> None:
    (await fleet.deployed.play("upgrade.yml", version=TWO)).succeeded()
    state = await fleet.undisturbed("rollback.yml", version=TWO)
    assert state["version"] == ONE
    for _ in range(ROLLBACKS):
        (await fleet.deployed.play("upgrade.yml", version=TWO)).succeeded()
        await fleet.killed_and_run_again("rollback.yml", version=TWO)
        assert await fleet.state() == state


async def test_a_rotation_that_is_killed_is_made_good_by_the_next(fleet: Fleet) -> None:
    rotate = ("rotate.yml", "--tags", "basic,consumer")

    async def begun() -> None:
        for kind in ("basic", "consumer"):
            await fleet.deployed.vault("begin", kind)

    await begun()
    await fleet.undisturbed(*rotate, version=ONE)
    for _ in range(ROTATIONS):
        before = await fleet.deployed.secrets()
        await begun()
        await fleet.killed_and_run_again(*rotate, version=ONE)
        after = await fleet.deployed.secrets()
        assert "_next" not in json.dumps(after)
        assert after["vault_peers"][MACHINE]["basic_password"] != before["vault_peers"][MACHINE]["basic_password"]
        assert after["vault_consumer_key"] != before["vault_consumer_key"]
        # The machine's secrets are the vault's, and are used: the deploy asks everybody.
        assert (await fleet.deployed.play("site.yml", version=ONE)).succeeded().changed == 0
