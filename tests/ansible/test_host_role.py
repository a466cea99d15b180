"""The role `host` on bare machines. Needs an engine."""

from collections.abc import AsyncIterator

import docker
import pytest
import pytest_asyncio
from ansible.machine import File
from ansible.site import Site

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  roles: [host]
  tasks:
    - name: Say which address was found
      ansible.builtin.debug:
        msg: "found {{ host_tailnet_address }}"
      tags: [host_tailnet]
"""
OLD_ENGINE = b"""#!/bin/sh
case $1 in version) echo 20.10.24 ;; compose) echo 2.26.1 ;; esac
"""
FOLDERS = "ls -d /etc/switchboard /etc/switchboard/* /var/lib/switchboard* 2>/dev/null || true"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    machines = {"tower": "13", "nas": "12"}
    async with Site(tmp_path_factory.mktemp("site"), machines, users={"nas": "deployer"}) as site:
        (site.folder / "host.yml").write_text(PLAYBOOK)
        yield site


def playbook(site: Site) -> str:
    return str(site.folder / "host.yml")


def words(output: str) -> str:
    """Output without the line breaks that Ansible puts into long messages."""
    return " ".join(output.split())


async def test_before_the_first_run_check_mode_tells_what_would_be_done_and_does_nothing(site: Site) -> None:
    play = (await site.playbook(playbook(site), "--check", "--diff")).succeeded()
    assert play.recap["tower"]["changed"] == play.recap["nas"]["changed"] >= 5
    for machine in site.machines.values():
        assert await machine.run(f"command -v docker; getent passwd 10001; {FOLDERS}") == ""


async def test_a_bare_machine_has_an_engine_the_account_and_the_folder(site: Site) -> None:
    (await site.playbook(playbook(site))).succeeded()
    for machine in site.machines.values():
        version = await machine.run("docker version --format '{{.Server.Version}}' && docker compose version --short")
        assert int(version.split(".")[0]) >= 26
        assert (
            await machine.run("id switchboard")
            == "uid=10001(switchboard) gid=10001(switchboard) groups=10001(switchboard)\n"
        )
        assert (await machine.run("getent passwd switchboard")).strip().endswith(":/nonexistent:/usr/sbin/nologin")
        assert await machine.run(FOLDERS) == "/etc/switchboard\n"
        assert await machine.run("stat --format '%U %a' /etc/switchboard") == "root 755\n"


@pytest.mark.parametrize("flags", [[], ["--check", "--diff"]], ids=["run", "check"])
async def test_a_second_run_changes_nothing(site: Site, flags: list[str]) -> None:
    assert (await site.playbook(playbook(site), *flags)).succeeded().changed == 0


async def test_the_tailnet_address_is_found(site: Site) -> None:
    play = (await site.playbook(playbook(site), "--tags", "host_tailnet")).succeeded()
    for machine in site.machines.values():
        assert f"found {machine.tailnet_address}" in play.output


async def test_a_given_address_needs_no_interface(site: Site) -> None:
    site.describe("nas", tailnet_address="fd7a:115c:a1e0::7")
    try:
        play = (await site.playbook(playbook(site), "--tags", "host_tailnet", "--limit", "nas")).succeeded()
    finally:
        site.describe("nas")
    assert "found fd7a:115c:a1e0::7" in play.output


async def test_where_no_interface_has_it_tailscale_is_asked(site: Site) -> None:
    nas, told = site["nas"], File(b'#!/bin/sh\ntest "$*" = "ip -4" && echo 100.100.7.7\n', 0o755)
    await nas.lay({"/usr/local/bin/tailscale": told})
    try:
        elsewhere = ("--limit", "nas", "--extra-vars", "host_tailnet_interface=elsewhere")
        play = (await site.playbook(playbook(site), "--tags", "host_tailnet", *elsewhere)).succeeded()
    finally:
        await nas.run("rm /usr/local/bin/tailscale")
    assert "found 100.100.7.7" in play.output


async def test_an_address_of_another_network_is_refused(site: Site) -> None:
    given = ("--tags", "host_tailnet", "--limit", "nas", "--extra-vars", "tailnet_address=192.168.1.7")
    play = await site.playbook(playbook(site), *given)
    assert play.recap["nas"]["failed"] == 1
    assert "192.168.1.7 is no tailnet address of nas: those are in 100.64.0.0/10 or fd7a:" in words(play.output)


async def test_where_the_tailnet_is_down_the_sentence_says_so(site: Site) -> None:
    await site["nas"].tailnet_down()
    try:
        play = await site.playbook(playbook(site), "--tags", "host_tailnet", "--limit", "nas")
    finally:
        await site["nas"].tailnet_up()
    assert play.recap["nas"]["failed"] == 1
    assert "nas has no tailnet address: its interface tailscale0 is not there" in words(play.output)


async def test_an_older_engine_in_use_is_reported_and_stays(site: Site) -> None:
    before = await site["tower"].run("docker version --format '{{.Server.Version}}'")
    await site["tower"].lay({"/usr/local/bin/docker": File(OLD_ENGINE, 0o755)})
    try:
        play = await site.playbook(playbook(site), "--check", "--limit", "tower")
    finally:
        await site["tower"].run("rm /usr/local/bin/docker")
    assert play.recap["tower"]["failed"] == 1
    assert "The container engine in use on tower is 20.10.24; Switchboard needs 26 or newer" in words(play.output)
    assert await site["tower"].run("docker version --format '{{.Server.Version}}'") == before


async def test_a_number_that_is_somebody_elses_is_refused(site: Site) -> None:
    await site["tower"].run("usermod --login somebody switchboard")
    try:
        play = await site.playbook(playbook(site), "--limit", "tower")
    finally:
        await site["tower"].run("usermod --login switchboard somebody")
    assert play.recap["tower"]["failed"] == 1
    assert "The number 10001 on tower is the user somebody's." in words(play.output)


async def test_an_installation_that_was_interrupted_is_finished(site: Site) -> None:
    half = "/^Package: docker.io$/,/^$/s/^Status: .*/Status: install ok half-configured/"
    await site["tower"].run(f"systemctl stop docker.socket docker.service && sed -i '{half}' /var/lib/dpkg/status")
    assert "docker.io" in await site["tower"].run("dpkg --audit")
    (await site.playbook(playbook(site), "--limit", "tower")).succeeded()
    assert await site["tower"].run("docker info --format '{{.ServerVersion}}' >/dev/null && dpkg --audit") == ""
