"""A machine that is coordinator and peer, exposed by Tailscale Serve, and no more.

The tests build on each other. The command `tailscale` is a double; its TLS is real.
"""

from collections.abc import AsyncIterator
from secrets import token_hex

import docker
import pytest
import pytest_asyncio
import trustme
from ansible.deployed import Deployed
from ansible.play import Play
from ansible.ports import answering
from ansible.site import Site

from ansible import mock_agent, tailscale, versions

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

VERSION = f"serve-{token_hex(3)}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    authority = trustme.CA()
    versions.trusting(VERSION, authority.cert_pem.bytes().decode())
    try:
        async with Site(tmp_path_factory.mktemp("site"), {"den": "13"}, has_engine=True) as site:
            await tailscale.install(site["den"], authority)
            await mock_agent.there_before(site, "den", expose="tailscale_serve")
            fleet = Deployed(site, coordinator="den", client="den")
            await fleet.fill_vault()
            yield fleet
    finally:
        versions.forget(VERSION)


async def deployed(fleet: Deployed, *flags: str) -> Play:
    return await fleet.play("site.yml", *flags, version=VERSION)


async def peers_of(fleet: Deployed) -> str:
    return await fleet.site["den"].run("cat /etc/switchboard/coordinator/peers.yaml")


async def test_a_port_of_serve_that_something_else_has_is_named_and_left(fleet: Deployed) -> None:
    den = fleet.site["den"]
    await den.run("tailscale serve --bg --https=8443 http://127.0.0.1:3000")
    play = await deployed(fleet)
    assert play.exit_code
    words = " ".join(play.output.split())
    assert "Port 8443 of Tailscale Serve on den leads to http://127.0.0.1:3000: free it with" in words
    assert "3000" in await den.run("tailscale serve status --json")
    await den.run("tailscale serve --https=8443 off")


async def test_a_proxy_and_a_coordinator_stand_on_loopback_behind_https(fleet: Deployed) -> None:
    play = (await deployed(fleet)).succeeded()
    assert "# 200 in" in play.output
    den = fleet.site["den"]
    assert f"host: {tailscale.name_of(den)}" in await peers_of(fleet)
    assert await answering(den.lan_address) == [22]
    assert await answering(den.tailnet_address, seen_from=den) == [443, 8443]
    url = f"https://{tailscale.name_of(den)}/healthz"
    told = await den.python(f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=30).status)")
    assert told.strip() == "200"


async def test_a_second_run_changes_nothing_and_all_is_well(fleet: Deployed) -> None:
    assert (await deployed(fleet)).succeeded().changed == 0
    assert (await fleet.play("verify.yml", version=VERSION)).succeeded().changed == 0


async def test_who_is_exposed_no_more_is_at_the_tailnet_again(fleet: Deployed) -> None:
    den = fleet.site["den"]
    fleet.site.describe("den", agent_manage=False, agent_home=mock_agent.HOME)
    assert "# 200 in" in (await deployed(fleet)).succeeded().output
    assert "host: 100.64." in await peers_of(fleet)
    assert await answering(den.tailnet_address, seen_from=den) == [9120, 9121]
    assert (await den.run("tailscale serve status --json")).strip() == "{}"


async def test_what_an_operator_has_serve_do_stays(fleet: Deployed) -> None:
    den = fleet.site["den"]
    await den.run("tailscale serve --bg --https=443 http://127.0.0.1:9120")
    assert (await deployed(fleet, "--tags", "proxy_serve,coordinator_serve")).succeeded().changed == 0
    assert "http://127.0.0.1:9120" in await den.run("tailscale serve status --json")
