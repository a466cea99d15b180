"""Every day of a fleet under a steady load of ten turns a second: none fails. Mock agents, on simulated machines."""

from collections.abc import AsyncIterator
from secrets import token_hex

import docker
import pytest
import pytest_asyncio
from ansible.deployed import Deployed
from ansible.judge import Verdict, judged
from ansible.loading import Loading
from ansible.site import Site
from doubles.raw_client import basic

from ansible import mock_agent, versions

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.deploy]

PEERS = ("nas", "laptop")
TO = (*PEERS, "any@fleet")
PER_SECOND = 10.5
SLOWLY = "!!delay=0.03"
RUN = token_hex(3)
ONE, TWO, POISONED = f"load-{RUN}-one", f"load-{RUN}-two", f"load-{RUN}-poisoned"
ROTATED_SECONDS = 60.0
WITHDRAWN_SECONDS = 90.0
ROOM = 10
"""The marks are the issue's, and are printed; a busy machine gets so many times as much."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    versions.called(ONE)
    versions.newer(TWO)
    versions.poisoned(POISONED)
    try:
        machines = dict.fromkeys(("tower", *PEERS), "13")
        async with Site(tmp_path_factory.mktemp("site"), machines, has_engine=True) as site:
            await mock_agent.there_before(site, *PEERS, max_turns=8)
            fleet = Deployed(site, coordinator="tower", client="laptop")
            await fleet.fill_vault()
            (await fleet.play("site.yml", version=ONE)).succeeded()
            yield fleet
    finally:
        versions.forget(ONE, TWO, POISONED)


async def verdict_on(fleet: Deployed, load: Loading) -> Verdict:
    verdict = judged(load.records, await fleet.seen_by_mock_agents(*PEERS))
    print(verdict.in_words())
    assert not verdict.failures
    assert verdict.per_second > 10
    return verdict


async def test_an_upgrade_costs_no_turn(fleet: Deployed) -> None:
    async with fleet.load(to=TO, per_second=PER_SECOND, directives=SLOWLY) as load:
        play = (await fleet.play("upgrade.yml", version=TWO)).succeeded()
    print(f"two peers and the coordinator upgraded in {play.seconds:.0f} s")
    await verdict_on(fleet, load)
    new = versions.ids(TWO)
    for peer in PEERS:
        assert await fleet.running(peer, "proxy") == new["switchboard-proxy"]
    assert await fleet.running("tower", "coordinator") == new["switchboard-coordinator"]


async def test_a_poisoned_image_is_taken_back_and_goes_no_further(fleet: Deployed) -> None:
    since = await fleet.clock()
    async with fleet.load(to=TO, per_second=PER_SECOND, directives=SLOWLY) as load:
        play = await fleet.play("upgrade.yml", version=POISONED)
    assert play.exit_code
    assert "is not proved" in play.output
    await verdict_on(fleet, load)
    good, bad = versions.ids(TWO)["switchboard-proxy"], versions.ids(POISONED)["switchboard-proxy"]
    (began, first), (ended, last) = await fleet.starts("nas", "proxy", since)
    assert (first, last) == (bad, good)
    print(
        f"the poisoned proxy was taken back {ended - began:.1f} s after its start (the mark is {WITHDRAWN_SECONDS:g})"
    )
    assert ended - began < ROOM * WITHDRAWN_SECONDS
    assert await fleet.starts("laptop", "proxy", since) == []
    assert await fleet.running("tower", "coordinator") == versions.ids(TWO)["switchboard-coordinator"]


async def test_a_rotation_of_the_basic_pairs_costs_no_turn(fleet: Deployed) -> None:
    before = await fleet.secrets()
    await fleet.vault("begin", "basic")
    async with fleet.load(to=TO, per_second=PER_SECOND, directives=SLOWLY) as load:
        play = (await fleet.play("rotate.yml", "--tags", "basic", version=TWO)).succeeded()
    print(f"two Basic pairs rotated in {play.seconds:.0f} s (the mark is {ROTATED_SECONDS:g} a peer)")
    assert play.seconds < ROOM * ROTATED_SECONDS * len(PEERS)
    verdict = await verdict_on(fleet, load)
    assert "peer_unauthorized" not in verdict.resends, "nobody is refused, and be it to ask again"
    after = await fleet.secrets()
    for peer in PEERS:
        old, new = (found["vault_peers"][peer]["basic_password"] for found in (before, after))
        machine = fleet.site[peer]
        door = f"http://{machine.tailnet_address}:9121/-/profiles"
        assert await machine.statuses(door, basic("coordinator", old), basic("coordinator", new)) == [401, 200]
        assert "basic_password_next" not in after["vault_peers"][peer]


async def test_a_rollback_costs_no_turn(fleet: Deployed) -> None:
    async with fleet.load(to=TO, per_second=PER_SECOND, directives=SLOWLY) as load:
        play = (await fleet.play("rollback.yml", version=TWO)).succeeded()
    print(f"two peers and the coordinator rolled back in {play.seconds:.0f} s")
    await verdict_on(fleet, load)
    old = versions.ids(ONE)
    for peer in PEERS:
        assert await fleet.running(peer, "proxy") == old["switchboard-proxy"]
    assert await fleet.running("tower", "coordinator") == old["switchboard-coordinator"]
