"""The simulated machines are what they promise to be. Needs an engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import httpx
import pytest
import pytest_asyncio
from ansible.machine import CommandFailed, File, Machine
from ansible.site import BASES, ROOT, Site
from real_agent.model import Model

from ansible import mock_agent, ports

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

SERVE_ONE = """
import socket, sys
with socket.create_server((sys.argv[1], 7777)) as server:
    server.settimeout(30)
    print("listening", flush=True)
    connection, (caller, _) = server.accept()
    connection.sendall(caller.encode())
"""
VISIT = """
import socket, sys
with socket.create_connection((sys.argv[1], 7777), 3) as connection:
    print(connection.recv(64).decode(), end="")
"""
SLEEPING_IMAGE = (
    "tar --create --dereference --absolute-names $(ldd /usr/bin/sleep | grep --only-matching '/[^ ]*') /usr/bin/sleep"
    " | docker import - sleeping"
)
"""A command that makes an image without any registry."""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: See who works
      ansible.builtin.command: id -un
      changed_when: false
      register: who
    - name: Say it
      ansible.builtin.assert:
        that: who.stdout == 'root'
    - name: Leave a mark
      ansible.builtin.copy:
        dest: /root/mark
        content: "{{ mark }}"
        mode: "0600"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    machines = {"tower": "13", "nas": "12"}
    async with Site(tmp_path_factory.mktemp("site"), machines, users={"nas": "deployer"}) as site:
        yield site


async def whom_it_saw(site: Site, visitor: str, host: str) -> str:
    """Whom a listener at the host's tailnet address sees when the visitor calls."""
    address = site[host].tailnet_address
    await site[host].lay({"/root/serve.py": File(SERVE_ONE.encode())})
    await site[host].run(f"systemd-run --quiet --unit serve --collect python3 /root/serve.py {address}")
    try:
        await site[host].run("timeout 10 sh -c 'until ss -ltn | grep -q :7777; do sleep 0.05; done'")
        return await site[visitor].python(VISIT, address)
    finally:
        await site[host].tried("systemctl stop serve")


async def received(site: Site, name: str) -> int:
    """Bytes that came in over the tailnet."""
    return int(await site[name].run("cat /sys/class/net/tailscale0/statistics/rx_bytes"))


async def test_the_mesh_carries_traffic_between_tailnet_addresses(site: Site) -> None:
    before = await received(site, "nas")
    assert await whom_it_saw(site, "tower", "nas") == site["tower"].tailnet_address
    assert await received(site, "nas") > before


async def test_a_rebooted_machine_is_on_the_tailnet_again(site: Site) -> None:
    boot = "stat --format %Z /proc/1"
    before = await site["nas"].run(boot)
    await site["nas"].reboot()
    assert await site["nas"].run(boot) != before
    assert await whom_it_saw(site, "nas", "tower") == site["nas"].tailnet_address


async def test_a_machine_taken_from_the_tailnet_stays_away_over_a_reboot(site: Site) -> None:
    await site["nas"].tailnet_down()
    try:
        await site["nas"].reboot()
        assert (await site["nas"].tried("ip link show tailscale0"))[0]
        with pytest.raises(CommandFailed, match=r"timed out|No route"):
            await site["tower"].python(VISIT, site["nas"].tailnet_address)
    finally:
        await site["nas"].tailnet_up()
    assert await whom_it_saw(site, "tower", "nas") == site["tower"].tailnet_address


async def test_a_machine_without_current_comes_back(site: Site) -> None:
    await site["nas"].power_off()
    await site["nas"].start()
    assert await whom_it_saw(site, "tower", "nas") == site["tower"].tailnet_address


async def test_the_tailnet_gives_a_machine_another_address(site: Site) -> None:
    old = site["nas"].tailnet_address
    await site.readdress("nas", "100.64.7.7")
    try:
        assert await whom_it_saw(site, "nas", "tower") == "100.64.7.7"
        assert await whom_it_saw(site, "tower", "nas") == site["tower"].tailnet_address
    finally:
        await site.readdress("nas", old)


async def test_from_the_lan_only_ssh_answers_and_from_the_tailnet_nothing(site: Site) -> None:
    assert await ports.answering(site["tower"].lan_address) == [22]
    assert await ports.answering(site["tower"].tailnet_address, seen_from=site["nas"]) == []


async def test_a_listener_on_every_address_is_seen_from_the_lan_and_from_the_tailnet(site: Site) -> None:
    await site["tower"].run("systemd-run --quiet --unit serve python3 -m http.server 8642 --bind 0.0.0.0")
    try:
        await site["tower"].run("timeout 10 sh -c 'until ss -ltn | grep -q :8642; do sleep 0.05; done'")
        assert await ports.answering(site["tower"].lan_address) == [22, 8642]
        assert await ports.answering(site["tower"].tailnet_address, seen_from=site["nas"]) == [8642]
    finally:
        await site["tower"].run("systemctl stop serve")


async def test_a_port_of_a_machines_loopback_is_reached_by_ssh(site: Site) -> None:
    await site["tower"].run("systemd-run --quiet --unit serve python3 -m http.server 8642 --bind 127.0.0.1")
    try:
        await site["tower"].run("timeout 10 sh -c 'until ss -ltn | grep -q :8642; do sleep 0.05; done'")
        async with site["tower"].forwarded(8642) as port, httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
    finally:
        await site["tower"].run("systemctl stop serve")


async def test_nothing_more_goes_onto_a_full_disk(site: Site) -> None:
    await site["tower"].small_disk("/srv/small", 8)
    try:
        async with site["tower"].full_disk("/srv/small"):
            with pytest.raises(CommandFailed, match="No space left"):
                await site["tower"].run("cp /etc/passwd /srv/small")
        await site["tower"].run("cp /etc/passwd /srv/small")
    finally:
        await site["tower"].run("umount /srv/small")


async def test_ansible_works_on_them_as_root_and_by_sudo(site: Site, tmp_path: Path) -> None:
    site.describe("all", mark="of all")
    site.describe("nas", mark="of nas alone")
    (tmp_path / "mark.yml").write_text(PLAYBOOK)
    first = (await site.playbook(str(tmp_path / "mark.yml"))).succeeded()
    assert {name: counts["changed"] for name, counts in first.recap.items()} == {"tower": 1, "nas": 1}
    second = (await site.playbook(str(tmp_path / "mark.yml"))).succeeded()
    assert second.changed == 0
    assert [await machine.run("cat /root/mark") for machine in site.machines.values()] == ["of all", "of nas alone"]


async def test_a_playbook_is_killed_at_the_task_that_was_named(site: Site, tmp_path: Path) -> None:
    site.describe("all", mark="of the killed")
    (tmp_path / "mark.yml").write_text(PLAYBOOK)
    play = await site.playbook(str(tmp_path / "mark.yml"), "--limit", "tower", killed_at=2)
    assert play.exit_code == -9
    assert "Say it" in play.output
    assert "Leave a mark" not in play.output
    assert play.recap == {}
    with pytest.raises(AssertionError, match="exit code -9"):
        play.succeeded()


async def test_the_model_beside_this_test_is_reached_from_a_machine(site: Site) -> None:
    async with Model(site.lan_gateway) as model:
        question = (
            "import json, sys, urllib.request\n"
            "body = json.dumps({'messages': [{'role': 'user', 'content': 'are you there?'}]}).encode()\n"
            "print(urllib.request.urlopen(sys.argv[1] + '/chat/completions', body, timeout=10).read().decode())"
        )
        answer = await site["nas"].python(question, model.base_url("nas", "default"))
        assert "[nas] echo: are you there?" in answer
        assert len(model.turns("nas", "default", "are you there?")) == 1


@pytest.mark.parametrize("name", ["tower", "nas"])
async def test_a_mock_agent_is_on_a_machine_as_an_existing_one_and_back_after_a_reboot(site: Site, name: str) -> None:
    await mock_agent.install(site[name], key="an-existing-agents-key-0123", profiles=("default", "work"))
    await site[name].reboot()
    asked = (
        "import urllib.request\n"
        "key = [line for line in open('/home/hermes/.hermes/.env') if line.startswith('API_SERVER_KEY=')][0]\n"
        "head = {'Authorization': 'Bearer ' + key.strip().partition('=')[2]}\n"
        "request = urllib.request.Request('http://127.0.0.1:8642/v1/models', headers=head)\n"
        "print(urllib.request.urlopen(request, timeout=10).status, end='')"
    )
    await site[name].run(mock_agent.ANSWERING)
    assert await site[name].python(asked) == "200"
    assert await site[name].run("stat --format '%a %U' /home/hermes/.hermes/.env") == "600 hermes\n"
    assert await ports.answering(site[name].lan_address) == [22]


async def engine_comes_back(machine: Machine) -> None:
    """Install one, run a container on it, reboot, and wait for the container."""
    scripts = {f"/opt/switchboard/scripts/{file}": ROOT / "scripts" / file for file in ("engine", "base-sources")}
    await machine.lay({path: File(file.read_bytes(), 0o755) for path, file in scripts.items()})
    assert "engine" in await machine.run("/opt/switchboard/scripts/engine")
    await machine.run(SLEEPING_IMAGE)
    options = "--detach --init --name one --network host --restart unless-stopped"
    await machine.run(f"docker run {options} sleeping /usr/bin/sleep infinity")
    await machine.reboot()
    running = "docker inspect --format '{{.State.Running}}' one"
    await machine.run(f"timeout 60 sh -c 'until [ \"$({running})\" = true ]; do sleep 0.2; done'")


@pytest.mark.parametrize("name", ["tower", "nas"])
async def test_an_engine_is_installed_on_it_and_its_containers_are_back_after_a_reboot(site: Site, name: str) -> None:
    await engine_comes_back(site[name])


async def test_ubuntu_is_a_machine_too(engine: docker.DockerClient, tmp_path: Path) -> None:
    has_base = await asyncio.create_subprocess_exec(ROOT / "scripts/base", BASES["24.04"])
    if await has_base.wait():
        pytest.skip(
            f"{BASES['24.04']} can neither be pulled nor built; run again where a registry or Ubuntu's archive answers"
        )
    async with Site(tmp_path / "site", {"laptop": "24.04"}, users={"laptop": "deployer"}) as site:
        site.describe("all", mark="of Ubuntu")
        (tmp_path / "mark.yml").write_text(PLAYBOOK)
        (await site.playbook(str(tmp_path / "mark.yml"))).succeeded()
        assert await ports.answering(site["laptop"].lan_address) == [22]
        assert await ports.answering(site["laptop"].tailnet_address, seen_from=site["laptop"]) == []
        await engine_comes_back(site["laptop"])
