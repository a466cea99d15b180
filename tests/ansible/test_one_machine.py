"""One machine that is coordinator and peer, from bare to the proof and on, by `site.yml`. Needs an engine.

The tests build on each other, as the days of one machine do. Its hermes-agent is a mock that somebody set up before.
"""

import base64
import secrets
from collections.abc import AsyncIterator

import docker
import pytest
import pytest_asyncio
from ansible.deployed import Deployed
from ansible.play import Play
from ansible.site import Site

from ansible import mock_agent, versions

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = f"one-{secrets.token_hex(3)}"
AGENT_KEY = f"key-of-an-agent-{secrets.token_hex(16)}"
BEHIND = "ls -d /etc/switchboard /var/lib/switchboard* 2>/dev/null; getent passwd 10001; command -v docker; true"
CONTAINERS = "docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.Status}}' | sed 's/ Up .*/ up/'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    versions.called(VERSION)
    try:
        async with Site(tmp_path_factory.mktemp("site"), {"hall": "13"}) as site:
            await mock_agent.install(site["hall"], key=AGENT_KEY, profiles=("default", "work"))
            profiles = {"default": {"capabilities": ["home"]}, "work": {"capabilities": ["code"]}}
            site.describe("hall", agent_manage=False, agent_home=mock_agent.HOME, profiles=profiles)
            fleet = Deployed(site, coordinator="hall", client="hall")
            await fleet.fill_vault()
            yield fleet
    finally:
        versions.forget(VERSION)


async def deployed(fleet: Deployed, *flags: str) -> Play:
    """`site.yml` as these flags want it; no secret is in its output."""
    play = (await fleet.play("site.yml", "--diff", "-vvv", *flags, version=VERSION)).succeeded()
    vault = await fleet.secrets()
    password = vault["vault_peers"]["hall"]["basic_password"]
    pair = base64.b64encode(f"coordinator:{password}".encode()).decode()
    for secret in (AGENT_KEY, vault["vault_consumer_key"], password, pair):
        assert secret not in play.output
    return play


async def test_before_the_first_run_check_mode_tells_what_would_be_done_and_does_nothing(fleet: Deployed) -> None:
    play = await deployed(fleet, "--check")
    assert play.recap["hall"]["changed"] > 10
    assert "the proxy would be started" in play.output
    assert "the coordinator would be started" in play.output
    assert await fleet.site["hall"].run(BEHIND) == ""


async def test_from_a_bare_machine_to_the_proof(fleet: Deployed) -> None:
    play = await deployed(fleet)
    print(f"from bare to the proof in {play.seconds:.0f} s")
    for address in ("default@hall", "work@hall", "all@fleet"):
        assert address in play.output
    for service in ("proxy", "coordinator"):
        assert f"- switchboard-{service} " in play.output  # what runs, in which version
        assert await fleet.running("hall", service) == versions.ids(VERSION)[f"switchboard-{service}"]


async def test_a_second_run_changes_nothing(fleet: Deployed) -> None:
    before = await fleet.site["hall"].run(CONTAINERS)
    play = await deployed(fleet)
    print(f"a second run in {play.seconds:.0f} s")
    assert play.changed == 0
    assert await fleet.site["hall"].run(CONTAINERS) == before


async def test_a_part_alone_is_put_right_by_its_tag(fleet: Deployed) -> None:
    hall = fleet.site["hall"]
    await hall.run("sed -i s/9121/9122/ /etc/switchboard/proxy/.env; docker rm --force switchboard-proxy-proxy-1")
    coordinator = await hall.run(f"{CONTAINERS} | grep coordinator")
    assert (await deployed(fleet, "--tags", "coordinator")).changed == 0
    play = await deployed(fleet, "--tags", "proxy")
    assert "-SWITCHBOARD_PROXY_PORT=9122" in play.output
    assert play.changed == 2  # the settings and the container
    assert await hall.run(f"{CONTAINERS} | grep coordinator") == coordinator
    assert (await deployed(fleet, "--tags", "proxy")).changed == 0


async def test_check_mode_tells_of_a_change_and_does_not_make_it(fleet: Deployed) -> None:
    before = await fleet.site["hall"].run(CONTAINERS)
    play = await deployed(fleet, "--check", "--extra-vars", "proxy_drain_seconds=25")
    assert "+SWITCHBOARD_PROXY_DRAIN_SECONDS=25" in play.output
    assert "the proxy would be replaced" in play.output
    assert play.changed == 2  # the settings and the container, and nothing of the coordinator
    assert await fleet.site["hall"].run(CONTAINERS) == before
