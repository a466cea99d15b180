"""An id and the roster give the plan of a turn."""

from datetime import UTC, datetime

import pytest
from switchboard_coordinator.address import MODES, Address
from switchboard_coordinator.errors import MalformedRequest, ModelNotFound
from switchboard_coordinator.groups.routing import Plan, model_ids, plan
from switchboard_coordinator.options import Options
from switchboard_coordinator.peers.health import LET_IN, Found, reported
from switchboard_coordinator.peers.peers_file import parse_peers
from switchboard_coordinator.peers.roster import Roster

PEERS = """\
peers:
  nas:
    host: nas
    password_file: p
    profiles: {default: {capabilities: [home]}, work: {capabilities: [code]}}
  tower:
    host: tower
    password_file: p
    max_turns: 8
    profiles: {default: {capabilities: [gpu, code]}}
"""
NAS, WORK, TOWER = Address("default", "nas"), Address("work", "nas"), Address("default", "tower")


@pytest.fixture
def roster() -> Roster:
    return Roster(parse_peers(PEERS, "peers.yaml"))


def look(roster: Roster, **states: str) -> None:
    """Find the addresses so: `work` is work@nas."""
    found = {name: Found(reported(state, None)) for name, state in states.items()}
    if "tower" in found:
        roster.note("tower", LET_IN, {"default": found["tower"]}, 1.0)
    roster.note("nas", LET_IN, {"default": found["nas"], "work": found["work"]}, 1.0)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("nas", Plan("", (NAS,))),
        ("default@nas", Plan("", (NAS,))),
        ("work@nas", Plan("", (WORK,))),
        ("first@fleet", Plan("first", (NAS, WORK, TOWER))),
        ("all@fleet", Plan("all", (NAS, WORK, TOWER))),
        ("all@code", Plan("all", (WORK, TOWER))),
        ("all@gpu", Plan("all", (TOWER,))),
        ("any@code", Plan("any", (WORK,), candidates=(WORK, TOWER))),
        ("quorum@gpu", Plan("quorum", (TOWER,), quorum=1)),
        ("quorum@code", Plan("quorum", (WORK, TOWER), quorum=2)),
        ("quorum@fleet", Plan("quorum", (NAS, WORK, TOWER), quorum=2)),
        ("council@code", Plan("council", (WORK, TOWER, WORK), chair=2)),
    ],
)
def test_an_id_gives_its_lanes(roster: Roster, model: str, expected: Plan) -> None:
    route = plan(model, roster.now)
    assert route == expected
    assert route.is_group == ("@" in model and model.partition("@")[0] in MODES)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("laptop", "there is no peer 'laptop'; there are nas, tower"),
        ("home@nas", "peer nas has no profile 'home'; it has default, work"),
        ("all@night", "there is no group 'night'; there are fleet, home, code, gpu"),
        ("council@nas", "there is no group 'nas'"),
        ("gpt-4/o", "is no model id"),
    ],
)
def test_an_unknown_id_is_told_what_there_is(roster: Roster, model: str, words: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        plan(model, roster.now)
    assert words in str(caught.value)
    assert caught.value.param == "model"


def test_every_id_that_is_listed_can_be_asked_for_whether_it_is_up_or_not(roster: Roster) -> None:
    look(roster, nas="up", work="up")
    ids = model_ids(roster.now)
    groups = [f"{mode}@{group}" for group in ("fleet", "home", "code", "gpu") for mode in MODES]
    assert ids == ["default@nas", "work@nas", "default@tower", *groups]
    assert all(plan(model, roster.now).lanes for model in ids)


@pytest.mark.parametrize(
    ("states", "busy", "sticky", "expected"),
    [
        ("up up up", {}, None, (NAS, WORK, TOWER)),
        ("down up up", {}, None, (WORK, TOWER, NAS)),
        ("unauthorized up up", {}, None, (WORK, TOWER, NAS)),
        ("degraded up up", {}, None, (WORK, TOWER, NAS)),
        ("degraded down up", {}, None, (TOWER, NAS, WORK)),
        ("down down down", {}, None, (NAS, WORK, TOWER)),
        ("up up up", {"nas": 1}, None, (TOWER, NAS, WORK)),
        ("up up up", {"nas": 1, "tower": 2}, None, (NAS, WORK, TOWER)),  # of 4 and of 8
        ("up up up", {"nas": 1, "tower": 3}, None, (NAS, WORK, TOWER)),
        ("up up degraded", {"nas": 4}, None, (NAS, WORK, TOWER)),
        ("up up up", {"tower": 8}, TOWER, (TOWER, NAS, WORK)),
        ("up up degraded", {}, TOWER, (TOWER, NAS, WORK)),
        ("up up down", {}, TOWER, (NAS, WORK, TOWER)),
        ("up up up", {}, Address("default", "laptop"), (NAS, WORK, TOWER)),
    ],
)
def test_any_asks_the_home_then_the_healthiest_and_least_busy_and_who_is_down_last(
    roster: Roster, states: str, busy: dict[str, int], sticky: Address | None, expected: tuple[Address, ...]
) -> None:
    look(roster, **dict(zip(("nas", "work", "tower"), states.split(), strict=True)))
    route = plan("any@fleet", roster.now, busy=busy, sticky=sticky)
    assert (route.lanes, route.candidates) == (expected[:1], expected)


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("any@fleet", Options(), Plan("any", (TOWER,), candidates=(TOWER,))),
        ("any@home", Options(), Plan("any", (NAS,), candidates=(NAS,))),  # there is no other
        ("first@fleet", Options(), Plan("first", (TOWER,))),
        ("all@code", Options(), Plan("all", (TOWER,))),
        ("all@home", Options(), Plan("all", (NAS,))),
        ("quorum@code", Options(), Plan("quorum", (TOWER,), quorum=1)),
        ("quorum@code", Options(quorum=1), Plan("quorum", (TOWER,), quorum=1)),
        ("quorum@code", Options(quorum=2), Plan("quorum", (WORK, TOWER), quorum=2)),
        ("council@fleet", Options(), Plan("council", (TOWER, TOWER), chair=1)),
        ("council@fleet", Options(chair=NAS), Plan("council", (TOWER, NAS), chair=1)),
        ("work@nas", Options(), Plan("", (WORK,))),
    ],
)
def test_groups_are_without_a_peer_that_is_drained_and_who_names_it_gets_it(
    roster: Roster, model: str, options: Options, expected: Plan
) -> None:
    look(roster, nas="up", work="up", tower="up")
    roster.drained("nas", datetime.now(UTC))
    assert plan(model, roster.now, options) == expected


def test_a_peer_that_is_drained_is_left_out_though_the_others_are_down(roster: Roster) -> None:
    look(roster, nas="up", work="up", tower="down")
    roster.drained("nas", datetime.now(UTC))
    assert plan("any@fleet", roster.now).candidates == (TOWER,)
    roster.drained("tower", datetime.now(UTC))
    assert plan("any@fleet", roster.now).candidates == (NAS, WORK, TOWER), "all are: the healthiest comes first"


def test_a_session_leaves_a_home_that_is_drained_only_where_it_may(roster: Roster) -> None:
    look(roster, nas="up", work="up", tower="up")
    roster.drained("nas", datetime.now(UTC))
    assert plan("any@fleet", roster.now, sticky=NAS).candidates == (TOWER,)
    assert plan("any@fleet", roster.now, sticky=NAS, is_bound=True).candidates == (NAS,)


def test_a_quorum_that_nobody_could_reach_is_refused_also_while_a_peer_is_drained(roster: Roster) -> None:
    roster.drained("nas", datetime.now(UTC))
    with pytest.raises(MalformedRequest, match="`quorum` is 3, and quorum@code has 2 lanes"):
        plan("quorum@code", roster.now, Options(quorum=3))


def test_a_quorum_is_what_the_request_says_or_a_majority(roster: Roster) -> None:
    assert plan("quorum@fleet", roster.now, Options(quorum=3)).quorum == 3
    assert plan("quorum@fleet", roster.now, Options(quorum=1)).quorum == 1
    with pytest.raises(MalformedRequest) as caught:
        plan("quorum@code", roster.now, Options(quorum=3))
    assert str(caught.value) == "`quorum` is 3, and quorum@code has 2 lanes"
    assert caught.value.param == "switchboard.quorum"


def test_a_chair_is_the_requests_else_the_groups_else_the_first_healthy_one(roster: Roster) -> None:
    chairs = {"fleet": WORK}

    def chair(options: Options, chairs: dict[str, Address]) -> Address:
        route = plan("council@fleet", roster.now, options, chairs=chairs)
        assert route.chair == 3
        assert route.lanes[:3] == (NAS, WORK, TOWER)
        return route.lanes[3]

    assert chair(Options(chair=TOWER), chairs) == TOWER
    assert chair(Options(), chairs) == WORK
    assert chair(Options(), {"gpu": WORK}) == NAS
    look(roster, nas="down", work="degraded", tower="up")
    assert chair(Options(), {}) == TOWER
    assert plan("council@gpu", roster.now, Options(chair=NAS)).lanes == (TOWER, NAS)  # it need not be of the group


def test_a_chair_that_is_not_there_is_refused_as_an_option(roster: Roster) -> None:
    with pytest.raises(MalformedRequest) as caught:
        plan("council@fleet", roster.now, Options(chair=Address("default", "laptop")))
    assert str(caught.value) == "`chair`: there is no peer 'laptop'; there are nas, tower"
    assert caught.value.param == "switchboard.chair"


@pytest.mark.parametrize("model", ["nas", "any@fleet", "all@fleet", "first@fleet"])
@pytest.mark.parametrize(("option", "options"), [("quorum", Options(quorum=1)), ("chair", Options(chair=NAS))])
def test_an_option_of_another_mode_is_refused(roster: Roster, model: str, option: str, options: Options) -> None:
    with pytest.raises(MalformedRequest) as caught:
        plan(model, roster.now, options)
    assert caught.value.param == f"switchboard.{option}"


def test_only_all_quorum_and_council_have_answers_to_arrange(roster: Roster) -> None:
    choices = Options(answers="choices")
    told = {model: plan(f"{model}@fleet", roster.now, choices).answers for model in MODES}
    assert told == {
        "any": "sections",
        "first": "sections",
        "all": "choices",
        "quorum": "choices",
        "council": "choices",
    }
