"""The procedures of docs/operations.md that need no load: each is done here as it stands there, one after another.

Mock agents; new keys of agents that are managed: test_real_under_load.py.
"""

import signal
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex

import docker
import httpx
import pytest
import pytest_asyncio
import yaml
from ansible.deployed import Deployed
from ansible.machine import Machine
from ansible.play import Play
from ansible.site import ROOT, Site
from ansible.terminal import Terminal
from waiting import until

from ansible import mock_agent, versions

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

RUN = token_hex(3)
VERSION, NEWER = f"procedures-{RUN}", f"procedures-{RUN}-newer"
ANSWER_SECONDS = 60.0
UPGRADE = yaml.safe_load((ROOT / "ansible/upgrade.yml").read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """A coordinator on `tower` and an agent that was there before on `nas`; `laptop` has no part yet."""
    versions.called(VERSION)
    versions.newer(NEWER)
    try:
        machines = {"tower": "13", "nas": "13", "laptop": "13"}
        async with Site(tmp_path_factory.mktemp("site"), machines, peers=["nas"], has_engine=True) as site:
            await mock_agent.there_before(site, "nas", "laptop")
            fleet = Deployed(site, coordinator="tower", client="nas")
            await fleet.fill_vault()
            (await fleet.play("site.yml", version=VERSION)).succeeded()
            yield fleet
    finally:
        versions.forget(VERSION, NEWER)


def named(fleet: Deployed, groups: Mapping[str, Sequence[str]]) -> None:
    """Change who is what in the inventory."""
    children: dict[str, dict[str, dict[str, dict[str, str]]]] = {
        group: {"hosts": {name: {} for name in names}} for group, names in groups.items()
    }
    (fleet.site.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))


@asynccontextmanager
async def coordinator_at(fleet: Deployed, machine: str) -> AsyncIterator[httpx.AsyncClient]:
    """The coordinator on this machine, asked by its operator."""
    headers = {"authorization": f"Bearer {(await fleet.secrets())['vault_consumer_key']}"}
    async with (
        fleet.site[machine].forwarded(9120) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client,
    ):
        yield client


async def asked(client: httpx.AsyncClient, peer: str, text: str) -> str:
    """The id of a turn that this peer answered."""
    begun = await client.post("/api/turns", json={"to": peer, "text": text})
    assert begun.status_code == 202, begun.text
    turn = str(begun.json()["id"])
    await until(lambda: is_over(client, turn), seconds=ANSWER_SECONDS)
    assert await text_of(client, turn) == f"[{peer}] echo: {text}"
    return turn


async def is_over(client: httpx.AsyncClient, turn: str) -> bool:
    return (await client.get(f"/api/turns/{turn}")).json()["state"] not in {"queued", "running"}


async def text_of(client: httpx.AsyncClient, turn: str) -> str | None:
    """What was answered then; None where nobody knows of it."""
    answer = await client.get(f"/api/turns/{turn}")
    return str(answer.json()["lanes"][0]["text"]).strip() if answer.status_code == 200 else None


async def peers_of(client: httpx.AsyncClient) -> set[str]:
    return {peer["name"] for peer in (await client.get("/api/peers")).json()["peers"]}


def files_in(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


@asynccontextmanager
async def listening(machine: Machine, address: str, port: int) -> AsyncIterator[None]:
    """Something answers there while the block lasts."""
    is_there = f"(exec 3<>/dev/tcp/{address}/{port}) 2>/dev/null"
    await machine.run(
        f"systemd-run --quiet --unit exposed python3 -m http.server --directory /srv --bind {address} {port}"
    )
    try:
        await machine.run(f"timeout 30 bash -c 'until {is_there}; do sleep 0.1; done'")
        yield
    finally:
        await machine.run("systemctl stop exposed")


def words_of(play: Play) -> str:
    """What it said, in one line: it folds long sentences."""
    return " ".join(play.output.split())


async def everywhere(fleet: Deployed) -> list[str]:
    """The image ids of the proxies on nas and laptop, and of the coordinator."""
    places = (("nas", "proxy"), ("laptop", "proxy"), ("tower", "coordinator"))
    return [await fleet.running(*place) for place in places]


def images(*of: str) -> list[str]:
    """What `everywhere` tells where these versions run."""
    proxies = [versions.ids(version)["switchboard-proxy"] for version in of[:2]]
    return [*proxies, versions.ids(of[2])["switchboard-coordinator"]]


async def test_a_peer_is_added(fleet: Deployed) -> None:
    named(fleet, {"coordinators": ["tower"], "peers": ["nas", "laptop"]})
    await fleet.fill_vault()
    (await fleet.play("site.yml", "--limit", "laptop,tower", version=VERSION)).succeeded()
    async with coordinator_at(fleet, "tower") as client:
        assert await peers_of(client) == {"nas", "laptop"}
        await asked(client, "laptop", "are you new here?")
        await asked(client, "nas", "are you still there?")


async def test_status_tells_what_runs_where_and_changes_nothing(fleet: Deployed) -> None:
    play = (await fleet.play("status.yml", version=VERSION)).succeeded()
    assert play.changed == 0
    for image in await everywhere(fleet):
        assert image.removeprefix("sha256:")[:12] in play.output
    assert "default@nas" in play.output


async def test_a_version_that_is_not_there_is_refused_before_anything_is_touched(fleet: Deployed) -> None:
    for playbook in ("site.yml", "upgrade.yml"):
        play = await fleet.play(playbook, version="0.0.0-nowhere")
        assert play.exit_code
        assert play.changed == 0
        assert "has no image switchboard-proxy:0.0.0-nowhere" in words_of(play)
    assert await everywhere(fleet) == images(VERSION, VERSION, VERSION)


@pytest.mark.parametrize(
    ("playbook", "arguments", "version", "tells"),
    [
        ("upgrade.yml", (), NEWER, "the proxy would be replaced"),
        ("rollback.yml", (), VERSION, "/etc/switchboard/coordinator/peers.yaml"),  # a peer was added just before
        ("remove.yml", ("-e", "leaving=laptop"), VERSION, "the coordinator would be replaced"),
        ("verify.yml", (), VERSION, ""),
        ("status.yml", (), VERSION, ""),
    ],
    ids=["upgrade", "rollback", "remove", "verify", "status"],
)
async def test_check_mode_tells_what_would_be_done_and_does_nothing(
    fleet: Deployed, playbook: str, arguments: Sequence[str], version: str, tells: str
) -> None:
    begun = await fleet.clock()
    play = (await fleet.play(playbook, "--check", "--diff", *arguments, version=version)).succeeded()
    assert bool(play.changed) == bool(tells)
    assert tells in words_of(play)
    assert await everywhere(fleet) == images(VERSION, VERSION, VERSION)
    for machine, service in (("nas", "proxy"), ("laptop", "proxy"), ("tower", "coordinator")):
        assert await fleet.starts(machine, service, begun) == []


async def test_a_coordinator_that_would_not_start_takes_no_running_ones_place(fleet: Deployed) -> None:
    nobody = '{"coordinator_groups": {"home": {"chair": "default@attic"}}}'
    begun = await fleet.clock()
    for playbook, arguments, words in (
        ("site.yml", (), "and the one that runs goes on as it is"),
        ("remove.yml", ("-e", "leaving=laptop"), "Nobody was removed. A coordinator would not start with this"),
    ):
        play = await fleet.play(playbook, *arguments, "--extra-vars", nobody, version=VERSION)
        assert play.exit_code
        assert words in words_of(play)
        assert "default@attic" in words_of(play)
        assert await fleet.starts("tower", "coordinator", begun) == []
        assert await Terminal(fleet, "tower").proves()
    assert (await fleet.play("site.yml", version=VERSION)).succeeded().changed == 0


async def test_a_limit_that_names_nobody_is_refused(fleet: Deployed) -> None:
    play = await fleet.play("site.yml", "--limit", "attic", version=VERSION)
    assert play.exit_code
    assert "no hosts to target" in words_of(play)
    play = await fleet.play("remove.yml", "-e", "leaving=nas,tower", version=VERSION)
    assert play.exit_code
    assert "tower is no peer of this inventory: nothing was removed. The peers are laptop, nas." in words_of(play)
    play = await fleet.play("remove.yml", "-e", "leaving=nas,laptop", version=VERSION)
    assert play.exit_code
    assert "A coordinator needs a peer, and all would leave: nothing was removed." in words_of(play)


async def test_verify_is_content_with_what_a_deploy_left(fleet: Deployed) -> None:
    assert (await fleet.play("verify.yml", version=VERSION)).succeeded().changed == 0


async def test_verify_fails_where_an_agent_or_a_proxy_answers_the_lan(fleet: Deployed) -> None:
    nas, laptop = fleet.site["nas"], fleet.site["laptop"]
    async with listening(nas, nas.lan_address, 8642), listening(laptop, laptop.lan_address, 9121):
        play = await fleet.play("verify.yml", version=VERSION)
    assert play.exit_code
    assert play.recap["nas"]["failed"] == play.recap["laptop"]["failed"] == 1
    words = words_of(play)
    assert f"on loopback alone answers at {nas.lan_address}:8642 of nas" in words
    assert f"The proxy of laptop should answer at {laptop.tailnet_address} alone, and answers at" in words
    assert laptop.lan_address in words.partition("The proxy of laptop should answer at")[2]


async def test_an_agent_that_is_exposed_or_refuses_its_own_key_stops_the_deploy_of_its_machine(fleet: Deployed) -> None:
    nas, laptop, home = fleet.site["nas"], fleet.site["laptop"], mock_agent.HOME
    another = f"s/^API_SERVER_KEY=.*/API_SERVER_KEY=another-{token_hex(16)}/"
    await laptop.run(f"cp --archive {home}/.env {home}/kept && sed --in-place '{another}' {home}/.env")
    try:
        async with listening(nas, nas.lan_address, 8642):
            play = await fleet.play("site.yml", version=VERSION)
    finally:
        await laptop.run(f"mv {home}/kept {home}/.env")
    assert play.exit_code
    assert play.recap["nas"]["failed"] == play.recap["laptop"]["failed"] == 1
    words = words_of(play)
    assert "The hermes-agent of nas listens on port 8642 of" in words
    assert "set API_SERVER_HOST (dashboard: --host) to 127.0.0.1 and restart it" in words
    assert "on laptop (http://127.0.0.1:8642) refuses the key that is in its .env or was given" in words
    assert "Not done, because they could not be reached or failed (above): laptop, nas" in words


async def test_an_agent_with_another_key_is_told_of_and_a_deploy_reads_it(fleet: Deployed) -> None:
    nas, terminal = fleet.site["nas"], Terminal(fleet, "tower")
    await mock_agent.install(nas, key=f"key-of-an-agent-{token_hex(16)}")
    status, words = await terminal.doctor("nas", "--no-turn")
    assert status == 1
    assert "default@nas: agent: " in words
    assert "on nas write the API_SERVER_KEY of profile default into the key file" in words
    play = await fleet.play("verify.yml", version=VERSION)
    assert play.recap["nas"]["failed"] == 1
    assert "nas is not proved" in words_of(play)
    (await fleet.play("site.yml", "--limit", "nas,tower", version=VERSION)).succeeded()
    assert await terminal.proves()


async def test_a_peer_whose_turn_runs_on_is_skipped_and_named_and_the_turn_goes_on(fleet: Deployed) -> None:
    quickly = ("--limit", "nas", "-e", "upgrade_drain_seconds=2")
    async with coordinator_at(fleet, "tower") as client:
        turn = (await client.post("/api/turns", json={"to": "nas", "text": "!!hold=3600 for long"})).json()["id"]
        for playbook in ("upgrade.yml", "rollback.yml"):
            play = (await fleet.play(playbook, *quickly, version=NEWER)).succeeded()
            assert "because their turns ran on for 2 s: nas. Run this again for them." in words_of(play)
        assert await everywhere(fleet) == images(VERSION, VERSION, VERSION)
        assert not await is_over(client, turn)
        await asked(client, "nas", "do you take others?")
        assert (await client.post(f"/api/turns/{turn}/cancel")).status_code < 300


async def test_an_upgrade_runs_the_new_version_everywhere_and_again_changes_nothing(fleet: Deployed) -> None:
    (await fleet.play("upgrade.yml", version=NEWER)).succeeded()
    assert await everywhere(fleet) == images(NEWER, NEWER, NEWER)
    assert noted(fleet) == NEWER
    assert (await fleet.play("upgrade.yml", version=NEWER)).succeeded().changed == 0


async def test_an_upgrade_that_is_killed_between_two_peers_goes_on_with_the_second(fleet: Deployed) -> None:
    batches = f"PLAY [{next(play['name'] for play in UPGRADE if play.get('serial'))}]"
    play = await fleet.play("upgrade.yml", version=VERSION, killed_at=(batches, 2))
    assert play.exit_code == -signal.SIGKILL
    assert await everywhere(fleet) == images(NEWER, VERSION, NEWER)  # laptop stands before nas in the inventory
    (await fleet.play("upgrade.yml", version=VERSION)).succeeded()
    assert await everywhere(fleet) == images(VERSION, VERSION, VERSION)
    assert await Terminal(fleet, "tower").proves()
    (await fleet.play("upgrade.yml", version=NEWER)).succeeded()


async def test_one_machine_is_rolled_back_and_again_changes_nothing(fleet: Deployed) -> None:
    (await fleet.play("rollback.yml", "--limit", "nas", version=NEWER)).succeeded()
    assert await everywhere(fleet) == images(VERSION, NEWER, NEWER)
    assert (await fleet.play("rollback.yml", "--limit", "nas", version=NEWER)).succeeded().changed == 0
    assert await everywhere(fleet) == images(VERSION, NEWER, NEWER)


async def test_all_machines_are_rolled_back_and_again_changes_nothing(fleet: Deployed) -> None:
    (await fleet.play("rollback.yml", version=NEWER)).succeeded()
    assert await everywhere(fleet) == images(VERSION, VERSION, VERSION)
    assert noted(fleet) == VERSION
    assert (await fleet.play("rollback.yml", version=NEWER)).succeeded().changed == 0
    assert noted(fleet) == VERSION
    assert await Terminal(fleet, "tower").proves()


async def test_settings_are_rolled_back_and_the_version_stays(fleet: Deployed) -> None:
    (await fleet.play("upgrade.yml", version=NEWER)).succeeded()
    (await fleet.play("site.yml", "--extra-vars", "coordinator_drain_seconds=21", version=NEWER)).succeeded()
    (await fleet.play("rollback.yml", "--limit", "tower", version=NEWER)).succeeded()
    assert "DRAIN_SECONDS=20" in await fleet.site["tower"].run("cat /etc/switchboard/coordinator/.env")
    assert await everywhere(fleet) == images(NEWER, NEWER, NEWER)
    (await fleet.play("site.yml", "--extra-vars", "coordinator_drain_seconds=21", version=NEWER)).succeeded()
    (await fleet.play("rollback.yml", version=NEWER)).succeeded()
    assert (await everywhere(fleet))[-1] == images(NEWER, NEWER, NEWER)[-1]
    assert noted(fleet) == NEWER
    (await fleet.play("upgrade.yml", version=VERSION)).succeeded()


def noted(fleet: Deployed) -> str:
    """The version that the inventory says."""
    found = yaml.safe_load((fleet.site.inventory / "group_vars/all/version.yml").read_text())
    return str(found["switchboard_version"])


async def test_the_passwords_of_peers_are_rotated_and_again_changes_nothing(fleet: Deployed) -> None:
    before = await fleet.secrets()
    await fleet.vault("begin", "basic")
    (await fleet.play("rotate.yml", "--tags", "basic", version=VERSION)).succeeded()
    after = await fleet.secrets()
    for peer in ("nas", "laptop"):
        assert after["vault_peers"][peer]["basic_password"] != before["vault_peers"][peer]["basic_password"]
        assert "basic_password_next" not in after["vault_peers"][peer]
        assert "next" not in await fleet.site[peer].run("ls /etc/switchboard/proxy/secrets")
    assert await Terminal(fleet, "tower").proves()
    assert (await fleet.play("rotate.yml", "--tags", "basic", version=VERSION)).succeeded().changed == 0


async def test_agents_that_are_not_managed_are_named_as_not_rotated(fleet: Deployed) -> None:
    await fleet.vault("begin", "bearer")
    play = (await fleet.play("rotate.yml", "--tags", "bearer", version=VERSION)).succeeded()
    assert play.changed == 0
    for peer in ("nas", "laptop"):
        assert f"the agent of {peer} is not managed: its API_SERVER_KEY is not rotated" in words_of(play)


async def test_the_operators_key_is_rotated_with_an_overlap_that_ends(fleet: Deployed) -> None:
    terminal, rotate = Terminal(fleet, "tower"), ("rotate.yml", "--tags", "consumer")
    first = (await fleet.secrets())["vault_consumer_key"]
    await fleet.vault("begin", "consumer")
    (await fleet.play(*rotate, version=VERSION)).succeeded()
    second = (await fleet.secrets())["vault_consumer_key"]
    assert first != second
    await until(lambda: counts(terminal, second), seconds=ANSWER_SECONDS)
    assert await counts(terminal, first)
    await fleet.vault("begin", "consumer")
    (await fleet.play(*rotate, "--extra-vars", "keys_overlap=1s", version=VERSION)).succeeded()
    third = (await fleet.secrets())["vault_consumer_key"]
    await until(lambda: counts(terminal, third), seconds=ANSWER_SECONDS)
    await until(lambda: counts_no_more(terminal, second), seconds=ANSWER_SECONDS)


async def counts(terminal: Terminal, key: str) -> bool:
    """Whether the coordinator takes this key."""
    status, _ = await terminal.asked("peers", key=key)
    return status == 0


async def counts_no_more(terminal: Terminal, key: str) -> bool:
    status, words = await terminal.asked("peers", key=key)
    return status != 0 and "this key has expired" in words


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def kept() -> list[str]:
    """Ids of turns that are in the copy."""
    return []


async def test_a_backup_is_the_journal_of_its_moment_and_restored_it_is_so_again(
    fleet: Deployed, copies: Path, kept: list[str]
) -> None:
    async with coordinator_at(fleet, "tower") as client:
        kept.append(await asked(client, "nas", "asked before"))
        (await fleet.play("backup.yml", "-e", f"backup_folder={copies}", version=VERSION)).succeeded()
        later = await asked(client, "nas", "asked after")
    (copy,) = files_in(copies)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    (await fleet.play("restore.yml", "-e", f"backup_file={copy}", version=VERSION)).succeeded()
    async with coordinator_at(fleet, "tower") as client:
        assert await text_of(client, kept[0]) == "[nas] echo: asked before"
        assert await text_of(client, later) is None
        await asked(client, "nas", "does it go on?")


async def test_the_coordinator_moves_to_another_machine_with_its_journal(
    fleet: Deployed, copies: Path, kept: list[str]
) -> None:
    (copy,) = files_in(copies)
    await fleet.site["tower"].run("cd /etc/switchboard/coordinator && docker compose --file coordinator.yaml down")
    named(fleet, {"coordinators": ["laptop"], "peers": ["nas", "laptop"]})
    await fleet.fill_vault()  # where this test is run without the one that adds the peer
    (await fleet.play("site.yml", version=VERSION)).succeeded()
    (await fleet.play("restore.yml", "-e", f"backup_file={copy}", version=VERSION)).succeeded()
    async with coordinator_at(fleet, "laptop") as client:
        assert await text_of(client, kept[0]) == "[nas] echo: asked before"
        await asked(client, "laptop", "do you hear me here?")


async def test_a_vault_whose_password_is_lost_is_made_anew(fleet: Deployed) -> None:
    before = await fleet.secrets()
    (fleet.site.inventory / ".vault-password").unlink()
    (fleet.site.inventory / "group_vars/all/vault.yml").unlink()
    await fleet.fill_vault()
    (await fleet.play("site.yml", version=VERSION)).succeeded()
    assert (await fleet.secrets())["vault_consumer_key"] != before["vault_consumer_key"]
    async with coordinator_at(fleet, "laptop") as client:
        await asked(client, "nas", "who am I now?")
        old = {"authorization": f"Bearer {before['vault_consumer_key']}"}
        assert (await client.get("/api/peers", headers=old)).status_code == 401


async def test_a_peer_is_removed(fleet: Deployed) -> None:
    (await fleet.play("remove.yml", "-e", "leaving=nas", version=VERSION)).succeeded()
    named(fleet, {"coordinators": ["laptop"], "peers": ["laptop"]})
    async with coordinator_at(fleet, "laptop") as client:
        assert await peers_of(client) == {"laptop"}
        await asked(client, "laptop", "are we alone?")
    assert await fleet.site["nas"].run("docker ps --all --quiet; ls /etc/switchboard") == ""
    assert (await fleet.play("site.yml", version=VERSION)).succeeded().changed == 0
