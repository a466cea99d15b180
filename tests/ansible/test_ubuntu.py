"""A fleet on Ubuntu, whose engine keeps images in containerd's store, deployed with whichever engine there is here."""

import asyncio
import re
from pathlib import Path
from secrets import token_hex

import docker
import pytest
from ansible.deployed import Deployed
from ansible.play import Play
from ansible.site import BASES, ROOT, Site

from ansible import mock_agent, versions

pytestmark = pytest.mark.deploy

SERVICES = ("proxy", "coordinator")
IMAGES_THERE = "docker image ls --no-trunc --format '{{.ID}}' --filter 'reference=switchboard-*' | sort -u"


def proved(play: Play) -> Play:
    """Itself, where the proof at its end has an answer of the one address, by itself and within all."""
    assert len(re.findall(r"default@den\b", play.succeeded().output.partition("TASK [Show the transcript]")[2])) == 2
    assert re.search(r"# 200 in \d+\.\d\d s: \[den\] echo:", play.output)
    assert re.search(r"#   default@den: \[den\] echo:", play.output)
    return play


async def test_a_machine_of_ubuntu_is_peer_and_coordinator_and_is_upgraded_and_rolled_back(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    has_base = await asyncio.create_subprocess_exec(ROOT / "scripts/base", BASES["24.04"])
    if await has_base.wait():
        pytest.skip(f"no {BASES['24.04']}: run again where a registry or Ubuntu's archive answers")
    first, second = (f"ubuntu-{number}-{token_hex(3)}" for number in (1, 2))
    versions.called(first)
    versions.newer(second)
    try:
        async with Site(tmp_path / "site", {"den": "24.04"}) as site:
            await mock_agent.there_before(site, "den")
            fleet = Deployed(site, coordinator="den", client="den")
            await fleet.fill_vault()
            (await fleet.play("site.yml", "--check", version=first)).succeeded()
            proved(await fleet.play("site.yml", version=first))
            before = [await fleet.running("den", service) for service in SERVICES]
            assert proved(await fleet.play("site.yml", version=first)).changed == 0
            assert (await fleet.play("site.yml", "--check", version=first)).succeeded().changed == 0

            foretold = (await fleet.play("site.yml", "--check", version=second)).succeeded()
            assert "the proxy would be replaced" in foretold.output
            proved(await fleet.play("upgrade.yml", version=second))
            after = [await fleet.running("den", service) for service in SERVICES]
            assert not {*before} & {*after}
            assert {*(await site["den"].run(IMAGES_THERE)).split()} == {*before, *after}

            proved(await fleet.play("rollback.yml", version=second))
            assert [await fleet.running("den", service) for service in SERVICES] == before
    finally:
        versions.forget(first, second)
