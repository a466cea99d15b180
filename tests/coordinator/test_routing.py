"""An id and the roster give the plan of a turn."""

import pytest
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import ModelNotFound
from switchboard_coordinator.health import reported
from switchboard_coordinator.peers_file import parse_peers
from switchboard_coordinator.roster import Roster
from switchboard_coordinator.routing import model_ids, plan

PEERS = """\
peers:
  nas:
    host: nas
    password_file: p
    profiles: {default: {capabilities: [home]}, work: {capabilities: [code]}}
  tower:
    host: tower
    password_file: p
    profiles: {default: {capabilities: [gpu, code]}}
"""
NAS, WORK, TOWER = Address("default", "nas"), Address("work", "nas"), Address("default", "tower")


@pytest.fixture
def roster() -> Roster:
    return Roster(parse_peers(PEERS, "peers.yaml"))


@pytest.mark.parametrize(
    ("model", "lanes", "is_group"),
    [
        ("nas", (NAS,), False),
        ("default@nas", (NAS,), False),
        ("work@nas", (WORK,), False),
        ("all@fleet", (NAS, WORK, TOWER), True),
        ("all@code", (WORK, TOWER), True),
        ("all@gpu", (TOWER,), True),
    ],
)
def test_an_id_gives_its_lanes(roster: Roster, model: str, lanes: tuple[Address, ...], is_group: bool) -> None:
    route = plan(model, roster.now)
    assert (route.lanes, route.is_group) == (lanes, is_group)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("laptop", "there is no peer 'laptop'; there are nas, tower"),
        ("home@nas", "peer nas has no profile 'home'; it has default, work"),
        ("all@night", "there is no group 'night'; there are fleet, home, code, gpu"),
        ("quorum@fleet", "mode 'quorum' is not there yet; there is all"),
        ("gpt-4/o", "is no model id"),
    ],
)
def test_an_unknown_id_is_told_what_there_is(roster: Roster, model: str, words: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        plan(model, roster.now)
    assert words in str(caught.value)
    assert caught.value.param == "model"


def test_every_id_that_is_listed_can_be_asked_for_whether_it_is_up_or_not(roster: Roster) -> None:
    roster.note("nas", reported("up", None), {}, 1.0)
    ids = model_ids(roster.now)
    assert ids == [
        "default@nas",
        "work@nas",
        "default@tower",
        "all@fleet",
        "all@home",
        "all@code",
        "all@gpu",
    ]
    assert all(plan(model, roster.now).lanes for model in ids)
