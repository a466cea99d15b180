"""What befalls machines of a deployed fleet: it comes back by itself, or says exactly what is wrong. Mock agents."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

import docker
import pytest
import pytest_asyncio
from ansible.deployed import Deployed
from ansible.machine import Machine
from ansible.site import Site
from ansible.terminal import Terminal
from waiting import until

from ansible import mock_agent, versions

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

RUN = token_hex(3)
ONE, TWO = f"faults-{RUN}-one", f"faults-{RUN}-two"
LATE_SECONDS = 60.0
SOON_SECONDS = 120.0
DISK_MEGABYTES = 900
PROXY, COORDINATOR = "switchboard-proxy-proxy-1", "switchboard-coordinator-coordinator-1"
JOURNAL = "/var/lib/docker/volumes/switchboard-coordinator_data/_data"
COMPOSE = "docker compose --file /etc/switchboard/coordinator/coordinator.yaml"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """A coordinator on `tower`; the engine of `laptop` has a small disk, which a reboot would empty."""
    versions.called(ONE)
    versions.newer(TWO)
    try:
        machines = dict.fromkeys(("tower", "nas", "laptop"), "13")
        async with Site(tmp_path_factory.mktemp("site"), machines, has_engine=True) as site:
            await site["laptop"].run("systemctl stop docker.socket docker.service")
            await site["laptop"].small_disk("/var/lib/docker", DISK_MEGABYTES)
            await site["laptop"].run("systemctl start docker.service")
            await mock_agent.there_before(site, "nas", "laptop")
            fleet = Deployed(site, coordinator="tower", client="laptop")
            await fleet.fill_vault()
            (await fleet.play("site.yml", version=ONE)).succeeded()
            yield fleet
    finally:
        versions.forget(ONE, TWO)


async def says(machine: Machine, container: str, *words: str) -> bool:
    """Whether its log has each of these words since it was started."""
    started = f"$(docker inspect --format {{{{.State.StartedAt}}}} {container})"
    status, log = await machine.tried(f"docker logs --since {started} {container}")
    return status == 0 and all(word in log for word in words)


async def answers(machine: Machine, url: str) -> tuple[int, str]:
    """Status and body of what answers there, as the machine itself sees it; status 0 where nothing does."""
    program = (
        "import sys, urllib.error, urllib.request\n"
        "try:\n"
        "    answer = urllib.request.urlopen(sys.argv[1], timeout=10)\n"
        "except urllib.error.HTTPError as error:\n"
        "    answer = error\n"
        "except OSError as error:\n"
        "    sys.exit(print(0, error))\n"
        "print(answer.status, answer.read().decode())"
    )
    status, _, body = (await machine.python(program, url)).partition(" ")
    return int(status), body


async def is_served(machine: Machine, url: str) -> bool:
    status, _ = await answers(machine, url)
    return status == 200


async def test_a_peer_that_was_rebooted_comes_back(fleet: Deployed) -> None:
    await fleet.site["nas"].reboot()
    await Terminal(fleet, "tower").comes_back()


async def test_a_coordinators_machine_that_lost_its_current_comes_back_with_its_turns(fleet: Deployed) -> None:
    terminal = Terminal(fleet, "tower")
    await terminal.comes_back()
    before = await turns_known(fleet)
    assert before
    await fleet.coordinator.power_off()
    await fleet.coordinator.start()
    await terminal.comes_back()
    assert before <= await turns_known(fleet)


async def turns_known(fleet: Deployed) -> set[str]:
    """What the journal has."""
    program = (
        "import sqlite3, sys\n"
        "journal = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n"
        "print(*(row[0] for row in journal.execute('select id from turns')))"
    )
    return set((await fleet.coordinator.python(program, f"{JOURNAL}/switchboard.db")).split())


async def test_machines_whose_tailnet_comes_late_wait_for_it_and_say_so(fleet: Deployed) -> None:
    tower, nas, terminal = fleet.site["tower"], fleet.site["nas"], Terminal(fleet, "tower")
    for machine in (tower, nas):
        await machine.tailnet_down()
    begun = time.monotonic()
    await asyncio.gather(tower.reboot(), nas.reboot())
    missing = f"{nas.tailnet_address} is not an address of this machine: is its network (the tailnet) up?"
    await until(lambda: says(nas, PROXY, "waits_for_address", missing), seconds=SOON_SECONDS)
    await until(lambda: says(tower, COORDINATOR, "waits_for_address", tower.tailnet_address), seconds=SOON_SECONDS)
    await until(lambda: is_served(tower, "http://127.0.0.1:9120/healthz"), seconds=SOON_SECONDS)
    status, words = await terminal.doctor("nas", "--no-turn")
    assert status == 1
    assert "nas: tailnet: the tailnet is down on this machine" in words
    assert "see `tailscale status` here, then `tailscale up`" in words
    await tower.tailnet_up()
    status, words = await terminal.doctor("nas", "--no-turn")
    assert status == 1
    assert "nas: port: nobody answers at port 9121" in words
    assert "is nas awake and on the tailnet" in words
    await asyncio.sleep(max(0.0, begun + LATE_SECONDS - time.monotonic()))  # as late as the issue wants it
    await nas.tailnet_up()
    await terminal.comes_back()


async def test_a_machine_with_another_tailnet_address_is_found_again_by_a_deploy(fleet: Deployed) -> None:
    terminal = Terminal(fleet, "tower")
    await fleet.site.readdress("nas", "100.64.0.77")
    status, words = await terminal.doctor("nas", "--no-turn")
    assert status == 1
    assert "nas: port: nobody answers at port 9121" in words
    assert "still its address?" in words
    assert "where it has another address, deploy" in words
    assert not await terminal.proves()
    (await fleet.play("site.yml", version=ONE)).succeeded()
    assert "host: 100.64.0.77" in await fleet.coordinator.run("cat /etc/switchboard/coordinator/peers.yaml")
    assert await terminal.proves()


async def test_a_coordinator_with_another_tailnet_address_is_found_there_after_a_deploy(fleet: Deployed) -> None:
    await fleet.site.readdress("tower", "100.64.0.78")
    (await fleet.play("site.yml", version=ONE)).succeeded()
    assert (await answers(fleet.site["laptop"], "http://100.64.0.78:9120/readyz"))[0] == 200


async def test_engines_that_restart_bring_everything_back(fleet: Deployed) -> None:
    for machine in (fleet.site["nas"], fleet.coordinator):
        await machine.run("systemctl restart docker")
    await Terminal(fleet, "tower").comes_back()


async def test_an_engine_that_was_killed_leaves_the_proxy_down_and_a_deploy_starts_it(fleet: Deployed) -> None:
    """docker 26.1 stops what outlived it, and takes that for a wish: what is `unless-stopped` stays down."""
    nas, terminal = fleet.site["nas"], Terminal(fleet, "tower")
    await nas.run("pkill --signal KILL --exact dockerd")
    await until(lambda: is_ended(nas, PROXY), seconds=SOON_SECONDS)
    status, words = await terminal.doctor("nas", "--no-turn")
    assert status == 1
    assert "nas: port: the machine is there, and nothing listens at its port 9121" in words
    assert "on nas see `docker ps --all` and start its proxy" in words
    play = (await fleet.play("status.yml", version=ONE)).succeeded()
    assert "Exited" in play.output
    (await fleet.play("site.yml", "--limit", "nas,tower", version=ONE)).succeeded()
    assert await terminal.proves()


async def is_ended(machine: Machine, container: str) -> bool:
    status, state = await machine.tried(f"docker inspect --format {{{{.State.Status}}}} {container}")
    return status == 0 and state.strip() == "exited"


async def test_a_deploy_to_a_full_disk_says_so_and_loses_nothing(fleet: Deployed) -> None:
    laptop, terminal = fleet.site["laptop"], Terminal(fleet, "tower")
    before = await fleet.running("laptop", "proxy")
    async with laptop.full_disk("/var/lib/docker"):
        play = await fleet.play("site.yml", version=TWO)
        assert play.exit_code
        assert play.recap["laptop"]["failed"] == 1
        assert "no space left on device" in play.output
        assert "Not done" in play.output
        assert await fleet.running("laptop", "proxy") == before
        assert await fleet.running("nas", "proxy") == versions.ids(TWO)["switchboard-proxy"]
        assert await terminal.proves()
    (await fleet.play("site.yml", version=TWO)).succeeded()
    assert await fleet.running("laptop", "proxy") == versions.ids(TWO)["switchboard-proxy"]
    assert (await fleet.play("site.yml", version=TWO)).succeeded().changed == 0


@asynccontextmanager
async def small_journal(machine: Machine) -> AsyncIterator[None]:
    """The coordinator's database is on a small disk while the block lasts."""
    kept = "/var/lib/journal-kept"
    await machine.run(f"{COMPOSE} stop && cp --archive {JOURNAL} {kept}")
    await machine.small_disk(JOURNAL, 24)
    try:
        await machine.run(f"cp --archive {kept}/. {JOURNAL}/ && {COMPOSE} start")
        yield
    finally:
        await machine.run(f"{COMPOSE} stop && umount {JOURNAL} && {COMPOSE} start && rm --recursive {kept}")


async def test_a_coordinator_whose_disk_is_full_refuses_turns_says_so_and_recovers(fleet: Deployed) -> None:
    terminal = Terminal(fleet, "tower")
    async with small_journal(fleet.coordinator):
        await terminal.comes_back()
        async with fleet.coordinator.full_disk(JOURNAL):
            long = "once more " * 10_000
            await until(lambda: is_refused(terminal, long), seconds=SOON_SECONDS)
            status, body = await answers(fleet.coordinator, "http://127.0.0.1:9120/readyz")
            assert status == 503
            assert "full" in body
        await terminal.comes_back()
        assert (await answers(fleet.coordinator, "http://127.0.0.1:9120/readyz"))[0] == 200
    await terminal.comes_back()


async def is_refused(terminal: Terminal, text: str) -> bool:
    status, words = await terminal.asked("ask", text, "--to", "default@nas")
    return status != 0 and "the turn could not be written down, so nobody was asked" in words


async def test_a_coordinators_machine_that_is_off_is_named_and_keeps_no_peer_waiting(fleet: Deployed) -> None:
    terminal = Terminal(fleet, "tower")
    await fleet.site["nas"].run("sed -i s/9121/9122/ /etc/switchboard/proxy/.env")  # something to do for it
    await fleet.coordinator.power_off()
    try:
        play = await fleet.play("site.yml", version=TWO)
    finally:
        await fleet.coordinator.start()
    assert play.exit_code
    assert play.recap["tower"]["unreachable"] == 1
    assert play.recap["nas"]["rescued"] == play.recap["laptop"]["rescued"] == 0, play.end()
    assert play.recap["nas"]["changed"] > 0
    words = " ".join(play.output.split())
    assert "they could not be reached or failed (above): tower" in words
    assert "the coordinator could not be asked: it does not run, or its machine cannot be reached" in words
    await terminal.comes_back()
    (await fleet.play("site.yml", version=TWO)).succeeded()
    assert await terminal.proves()


async def test_a_peer_that_is_off_keeps_nobody_from_new_passwords_and_from_going_back(fleet: Deployed) -> None:
    before = await fleet.secrets()
    await fleet.vault("begin", "basic")
    await fleet.site["nas"].power_off()
    try:
        rotation = await fleet.play("rotate.yml", "--tags", "basic", version=TWO)
        rollback = await fleet.play("rollback.yml", version=TWO)
    finally:
        await fleet.site["nas"].start()
    for play in (rotation, rollback):
        assert play.exit_code
        assert "nas cannot be reached" in " ".join(play.output.split())
        assert "they could not be reached or failed (above): nas" in " ".join(play.output.split())
    after = await fleet.secrets()
    assert after["vault_peers"]["laptop"]["basic_password"] != before["vault_peers"]["laptop"]["basic_password"]
    assert after["vault_peers"]["nas"]["basic_password"] == before["vault_peers"]["nas"]["basic_password"]
    one, two = (versions.ids(version) for version in (ONE, TWO))
    assert await fleet.running("laptop", "proxy") == one["switchboard-proxy"]
    assert await fleet.running("tower", "coordinator") == one["switchboard-coordinator"]
    await Terminal(fleet, "tower").comes_back()
    assert await fleet.running("nas", "proxy") == two["switchboard-proxy"]
    (await fleet.play("rotate.yml", "--tags", "basic", version=ONE)).succeeded()
    (await fleet.play("site.yml", version=TWO)).succeeded()


async def test_a_peer_that_is_dead_is_removed_all_the_same(fleet: Deployed) -> None:
    terminal = Terminal(fleet, "tower")
    await fleet.site["nas"].power_off()
    play = (await fleet.play("remove.yml", "--extra-vars", "leaving=nas", version=TWO)).succeeded()
    words = " ".join(play.output.split())
    assert "nas cannot be reached: what is on it stays there, and the coordinator forgets it" in words
    status, words = await terminal.asked("peers")
    assert status == 0
    assert "default@laptop" in words
    assert "@nas" not in words
    await terminal.comes_back()
